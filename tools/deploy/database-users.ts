import { isFailure } from '../../src/database/database-error.ts';
import { driverErrorFields } from '../../src/database/mysql-errors.ts';
import type { Session } from '../../src/database/contracts.ts';
import { sqlLiteral } from '../../src/database/shard.ts';
import { CannotDo } from '../app-client.ts';

/** A database user and who may sign in as it. */
export interface DatabaseUser {
  readonly role: 'app' | 'migrator';
  readonly name: string;
  readonly login:
    /** A managed identity, by its client id (not its object id). */
    { readonly clientId: string } | { readonly password: string };
}

/** From where the user may connect; the network is what limits that on Azure. */
const ANYWHERE = '%';

/**
 * What each role may do in the application's database. The app reads and writes rows, and rebuilds tables at night: MySQL asks
 * for ALTER, CREATE and INSERT for any ALTER TABLE, also one that changes nothing. It can drop nothing. The migrator applies
 * `sql/shard` and keeps its log. A test runs both under exactly these.
 */
const DATABASE_PRIVILEGES: Readonly<Record<DatabaseUser['role'], string>> = {
  app: 'SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER',
  migrator: 'SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES',
};

/** PROCESS: the throttle of moves reads `information_schema.INNODB_METRICS`. */
const SERVER_PRIVILEGES: Readonly<Record<DatabaseUser['role'], string | undefined>> = {
  app: 'PROCESS',
  migrator: undefined,
};

/**
 * What maintenance reads beside them: pages of indexes, which of them are used, and how far a replica is behind. A server
 * that does not let its administrator pass these on is left without: maintenance then knows less, and says so.
 */
const MAINTENANCE_READS = [
  'SELECT ON mysql.innodb_table_stats',
  'SELECT ON mysql.innodb_index_stats',
  'SELECT ON performance_schema.*',
  'REPLICATION CLIENT ON *.*',
] as const;

/** The statements for one user, in order; pure. Throws {@link CannotDo} for a name or an id that does not fit. */
export function userStatements(user: DatabaseUser, database: string, host = ANYWHERE): string[] {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_-]{0,31}$/.test(user.name)) {
    throw new CannotDo(
      `"${user.name}" is no name for a database user: 1 to 32 letters, digits, - _`,
    );
  }
  if (!/^[a-zA-Z0-9_$]{1,64}$/.test(database)) {
    throw new CannotDo(`"${database}" is no name for a database.`);
  }
  const account = `'${user.name}'@'${host}'`;
  const onServer = SERVER_PRIVILEGES[user.role];
  return [
    ...loginStatements(user, account),
    ...(onServer === undefined ? [] : [`GRANT ${onServer} ON *.* TO ${account}`]),
    `GRANT ${DATABASE_PRIVILEGES[user.role]} ON \`${database}\`.* TO ${account}`,
    ...(user.role === 'app'
      ? MAINTENANCE_READS.map((right) => `GRANT ${right} TO ${account}`)
      : []),
  ];
}

function loginStatements({ name, login }: DatabaseUser, account: string): string[] {
  if ('password' in login) {
    const password = sqlLiteral(login.password);
    return [
      `CREATE USER ${account} IDENTIFIED BY ${password}`,
      // One that is there may have another.
      `ALTER USER ${account} IDENTIFIED BY ${password}`,
    ];
  }
  if (!/^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/.test(login.clientId)) {
    throw new CannotDo(`"${login.clientId}" is no client id: a GUID is expected.`);
  }
  return [
    // A managed identity is given by its id; looking it up in the tenant would need rights in Microsoft Graph.
    'SET aad_auth_validate_oids_in_tenant = OFF',
    `CREATE AADUSER '${name}' IDENTIFIED BY '${login.clientId}'`,
  ];
}

/** ER_CANNOT_USER: there is a user of this name already. */
const USER_EXISTS = 1396;

function isThere(statement: string, error: unknown): boolean {
  return (
    /^CREATE (?:AAD)?USER /.test(statement) &&
    isFailure(error, 'rejected') &&
    driverErrorFields(error.cause).errno === USER_EXISTS
  );
}

function isDispensable(statement: string, error: unknown): boolean {
  const reads = MAINTENANCE_READS.some((right) => statement.startsWith(`GRANT ${right} `));
  return reads && (isFailure(error, 'misconfigured') || isFailure(error, 'rejected'));
}

/** Creates the user or, when it is there, grants again what it needs. Idempotent. Throws `DatabaseError`. */
export async function ensureUser(
  session: Pick<Session, 'command'>,
  user: DatabaseUser,
  database: string,
  host?: string,
): Promise<'created' | 'present'> {
  let outcome: 'created' | 'present' = 'created';
  for (const statement of userStatements(user, database, host)) {
    try {
      await session.command(statement);
    } catch (error) {
      if (isThere(statement, error)) outcome = 'present';
      else if (!isDispensable(statement, error)) throw error;
    }
  }
  return outcome;
}
