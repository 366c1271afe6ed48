import { readFileSync } from 'node:fs';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { parse } from 'yaml';
import { z } from 'zod';
import { ADMIN_USER } from '../../local/shards/servers/server-options.ts';
import { asAdmin, type TestDatabases } from './cluster.ts';

/** The rights of Azure's server administrator that both engines know: no SUPER, and no account of the system's. */
const ADMINISTRATOR_PRIVILEGES =
  'SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, EVENT, TRIGGER';

/** A hook's command, exactly as azd runs it. */
export function hookLine(name: 'preprovision' | 'postprovision'): string {
  const hook = z.object({ shell: z.literal('sh'), run: z.string() });
  const file = z.object({ hooks: z.record(z.string(), hook) });
  const { hooks } = file.parse(parse(readFileSync('azure.yaml', 'utf8')));
  return hook.parse(hooks[name]).run;
}

/** The same without npx, which only finds the program, as the tests' own PATH does, and costs as much as the hook. */
export function hookLineInPath(name: Parameters<typeof hookLine>[0]): string {
  return hookLine(name).replace(/^npx --no -- /, '');
}

/** The names of a deployment over the databases of one test file. */
export interface Deployment {
  readonly admin: string;
  readonly app: string;
  readonly migrator: string;
}

/** Makes every server as it is after it was provisioned: an administrator, an empty database, and nobody else. */
export async function provision(
  databases: TestDatabases,
  kind: string,
  password: string,
): Promise<Deployment> {
  const names: Deployment = {
    admin: `${kind}-admin-${databases.database}`,
    app: `${kind}-app-${databases.database}`,
    migrator: `${kind}-mig-${databases.database}`,
  };
  await onEachServer(databases, [
    `CREATE USER '${names.admin}'@'%' IDENTIFIED BY '${password}'`,
    `GRANT ${ADMINISTRATOR_PRIVILEGES} ON *.* TO '${names.admin}'@'%' WITH GRANT OPTION`,
  ]);
  return names;
}

export async function removeUsers(databases: TestDatabases, names: Deployment): Promise<void> {
  const accounts = Object.values(names).map((name) => `'${String(name)}'@'%'`);
  await onEachServer(databases, [`DROP USER IF EXISTS ${accounts.join(', ')}`]);
}

/** Empties the database; rights on it stay. */
export async function emptyDatabases(databases: TestDatabases): Promise<void> {
  const { database } = databases;
  await onEachServer(databases, [`DROP DATABASE ${database}`, `CREATE DATABASE ${database}`]);
}

async function onEachServer(
  { stack, shards }: TestDatabases,
  statements: readonly string[],
): Promise<void> {
  for (const index of shards.keys()) await asAdmin(stack, index, statements);
}

/** All that a deployment makes on one server, but for hashes of passwords, which are salted anew. */
export interface ServerState {
  readonly grants: readonly string[];
  /** The log of migrations with its times, and each table with the time of its making. */
  readonly schema: readonly Record<string, unknown>[];
}

export function readServers(
  databases: TestDatabases,
  names: Deployment,
): Promise<readonly ServerState[]> {
  return Promise.all(databases.shards.map((_, index) => readServer(databases, index, names)));
}

async function readServer(
  { stack, database }: TestDatabases,
  index: number,
  { app, migrator }: Deployment,
): Promise<ServerState> {
  const { host, port } = stack.shards[index] ?? {};
  const password = stack.adminPasswords[index];
  const connection = await createConnection({
    host: String(host),
    port: Number(port),
    user: ADMIN_USER,
    password: String(password),
    dateStrings: true,
  });
  const rows = async (text: string): Promise<Record<string, unknown>[]> => {
    const [found] = await connection.query<RowDataPacket[]>(text);
    return found;
  };
  try {
    const users = await rows(
      `SELECT user FROM mysql.user WHERE user IN ('${app}', '${migrator}') ORDER BY user`,
    );
    const grants: string[] = [];
    for (const row of users) {
      const account = `'${String(Object.values(row)[0])}'@'%'`;
      const lines = await rows(`SHOW GRANTS FOR ${account}`);
      // MariaDB shows the hash of the password as well.
      const texts = lines.map((line) => String(Object.values(line)[0]));
      grants.push(...texts.map((text) => text.replace(/ IDENTIFIED BY .*/, '')));
    }
    const tables = await rows(
      `SELECT TABLE_NAME AS name, CREATE_TIME AS made FROM information_schema.TABLES WHERE TABLE_SCHEMA = '${database}' ORDER BY TABLE_NAME`,
    );
    const hasLog = tables.some(({ name }) => name === 'schema_migrations');
    const log = hasLog
      ? await rows(`SELECT * FROM ${database}.schema_migrations ORDER BY version`)
      : [];
    return { grants, schema: [...log, ...tables] };
  } finally {
    await connection.end();
  }
}
