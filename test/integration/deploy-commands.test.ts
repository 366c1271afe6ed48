import { createConnection } from 'mysql2/promise';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { loadMigrations } from '../../src/database/migration-files.ts';
import { asAdmin, createTestDatabases, type TestDatabases } from '../support/cluster.ts';
import {
  type Deployment,
  emptyDatabases,
  hookLineInPath,
  provision,
  readServers,
  removeUsers,
} from '../support/deploy-world.ts';
import { type Ended, runLine } from '../support/run-command.ts';

/** Quotes and a backslash: what would break out of a statement or a shell. */
const PASSWORDS = {
  admin: 'adminSecret-Q7',
  app: `app'Secret"\\-Q7 $HOME`,
  migrator: 'migratorSecret-Q7%',
};

let databases: TestDatabases;
let names: Deployment;
beforeAll(async () => {
  databases = await createTestDatabases();
  names = await provision(databases, 'pw', PASSWORDS.admin);
});
afterEach(() => databases.recover());
afterAll(async () => {
  await removeUsers(databases, names);
  await databases.drop();
});

/** The outputs of `azd provision`, as far as the commands read them. */
function outputs(change: Readonly<Record<string, string>> = {}): Record<string, string> {
  const shards = databases.shards.map(({ name, host, port, database }) => ({
    name,
    host,
    port,
    database,
    user: names.app,
    ssl: 'disabled',
  }));
  return {
    SHARDS: JSON.stringify(shards),
    MYSQL_ADMIN_LOGIN: names.admin,
    MYSQL_APP_USER: names.app,
    MYSQL_MIGRATOR_USER: names.migrator,
    MYSQL_PUBLIC_ACCESS: 'Enabled',
    ...change,
  };
}

/** Runs a command as a whole and makes sure that it tells no secret. */
async function run(line: string, env: Readonly<Record<string, string>>): Promise<Ended> {
  const ended = await runLine(line, env);
  const said = ended.stdout + ended.stderr;
  for (const secret of ['Secret', 'Q7']) expect(said).not.toContain(secret);
  return ended;
}

const postprovision = (change: Readonly<Record<string, string>> = {}) =>
  run(
    hookLineInPath('postprovision'),
    outputs({
      MYSQL_ADMIN_PASSWORD: PASSWORDS.admin,
      APP_PASSWORD: PASSWORDS.app,
      MIGRATOR_PASSWORD: PASSWORDS.migrator,
      ...change,
    }),
  );

/** What `npm run migrate` starts. */
const NODE_MIGRATE = 'node --disable-warning=ExperimentalWarning tools/migrate.ts';

const migrate = (options = '', start = NODE_MIGRATE) =>
  run(
    `${start} ${options}`,
    outputs({ MIGRATE_USER: names.migrator, MIGRATE_PASSWORD: PASSWORDS.migrator }),
  );

const servers = () => readServers(databases, names);
/** One line for each shard. */
const lines = (ending: (shard: number) => string): string[] =>
  databases.shards.map((shard, index) => `${shard.name}: ${ending(index)}`);
const linesOf = (text: string): string[] => text.trim().split('\n');

/** As `docs/security.md` has them. */
function documentedGrants(): readonly string[] {
  const { app, migrator } = names;
  const { database } = databases;
  return [
    `GRANT PROCESS, ${databases.engine === 'mysql' ? 'REPLICATION CLIENT' : 'BINLOG MONITOR'} ON *.* TO ${app}`,
    `GRANT SELECT ON performance_schema.* TO ${app}`,
    `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON ${database}.* TO ${app}`,
    `GRANT SELECT ON mysql.innodb_index_stats TO ${app}`,
    `GRANT SELECT ON mysql.innodb_table_stats TO ${app}`,
    `GRANT USAGE ON *.* TO ${migrator}`,
    `GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, REFERENCES, INDEX, ALTER ON ${database}.* TO ${migrator}`,
  ].toSorted();
}

/** Without quotes and hosts. */
function asGranted(grants: readonly string[]): readonly string[] {
  return grants.map((grant) => grant.replaceAll(/[`']|@[`']%[`']/g, '')).toSorted();
}

async function signIn(user: string, password: string): Promise<void> {
  for (const { host, port } of databases.shards) {
    const connection = await createConnection({ host, port, user, password });
    await connection.end();
  }
}

it('while a server is away the schema is left alone, and what to do is told', async () => {
  await databases.stack.stopShard(1, 'kill');
  const away = await postprovision({ MYSQL_PUBLIC_ACCESS: 'Disabled' });
  expect(away.code).toBe(1);
  expect(away.stderr).toContain(`${databases.shards[1]?.name}: failed: `);
  expect(away.stderr).toContain('azd env set MYSQL_PUBLIC_ACCESS Enabled');
  // The users of the others are there by now.
  const blocked = await migrate();
  expect([blocked.code, linesOf(blocked.stdout)]).toEqual([
    1,
    [
      expect.stringContaining('shard-0: pending: 0001'),
      expect.stringContaining('shard-1: failed: '),
      expect.stringContaining('shard-2: pending: 0001'),
    ],
  ]);
  await databases.recover();
  const states = await servers();
  expect(states.map(({ schema }) => schema)).toEqual([[], [], []]);
  expect(states.map(({ grants }) => grants.length > 0)).toEqual([true, false, true]);
});

it('the hook makes users with least rights and the schema, and a repeat changes nothing', async () => {
  const migrations = (await loadMigrations()).map(({ name }) => name).join(', ');
  const first = await postprovision();
  expect([first.code, first.stderr]).toEqual([0, '']);
  expect(linesOf(first.stdout).toSorted()).toEqual(
    databases.shards
      .flatMap(({ name }, index) => [
        `${name}: applied: ${migrations}`,
        `${name}: user ${names.app} ${index === 1 ? 'created' : 'present'}`,
        `${name}: user ${names.migrator} ${index === 1 ? 'created' : 'present'}`,
      ])
      .toSorted(),
  );
  const made = await servers();
  for (const { grants } of made) expect(asGranted(grants)).toEqual(documentedGrants());
  await signIn(names.migrator, PASSWORDS.migrator);
  await signIn(names.app, PASSWORDS.app);

  const again = await postprovision({ APP_PASSWORD: 'next-Secret-Q7' });
  expect([again.code, again.stderr]).toEqual([0, '']);
  expect(again.stdout).not.toContain('created');
  expect(linesOf(again.stdout).slice(-3)).toEqual(lines(() => 'current'));
  expect(await servers()).toEqual(made);
  // Passwords are the exception, so that they can be changed.
  await signIn(names.app, 'next-Secret-Q7');
  await expect(signIn(names.app, PASSWORDS.app)).rejects.toMatchObject({ errno: 1045 });
});

it('the migrator applies the schema by its own rights, and a repeat changes nothing', async () => {
  await emptyDatabases(databases);
  const applied = await migrate('--json', 'npm run --silent migrate --');
  expect([applied.code, applied.stderr]).toEqual([0, '']);
  expect(JSON.parse(applied.stdout)).toMatchObject(
    databases.shards.map(({ name }) => ({ shard: name, state: 'applied' })),
  );
  const made = await servers();
  const again = await migrate();
  expect([again.code, linesOf(again.stdout)]).toEqual([0, lines(() => 'current')]);
  expect(await servers()).toEqual(made);
});

it('a clash of versions on one shard stops both commands before they change any', async () => {
  const log = `${databases.database}.schema_migrations`;
  const later = (await loadMigrations()).length + 1;
  await asAdmin(databases.stack, 0, [`DELETE FROM ${log} ORDER BY version DESC LIMIT 1`]);
  await asAdmin(databases.stack, 1, [
    `INSERT INTO ${log} SELECT ${later}, 'from_later', checksum, begun, done, started_at, finished_at, NULL FROM ${log} WHERE version = 1`,
  ]);
  const before = await servers();
  for (const { code, stdout } of await Promise.all([migrate(), postprovision()])) {
    expect([code, linesOf(stdout).slice(-3)]).toEqual([
      2,
      [
        expect.stringContaining('shard-0: pending: '),
        `shard-1: clash: its schema is at version ${later} (from_later), but this build knows versions up to ${later - 1}: a newer build has been here; deploy that one or a later one`,
        'shard-2: current',
      ],
    ]);
  }
  expect(await servers()).toEqual(before);
});
