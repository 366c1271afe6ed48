import { dirname, join } from 'node:path';
import type { ServerBinary } from '../binaries/server-binary.ts';
import { LOOPBACK } from './ports.ts';

/** Name of the database and of the application's user on every shard. */
export const DATABASE = 'shardline';
export const APPLICATION_USER = 'shardline';
/** Only for set-up: makes the test databases and may do everything. */
export const ADMIN_USER = 'root';

/** Relative, hence inside the data folder: absolute socket paths end at about 100 characters. */
export const SOCKET = 'mysqld.sock';
export const PID_FILE = 'mysqld.pid';

/** What the application may do with its own database: DDL, DML and what the two need. */
const DATABASE_PRIVILEGES =
  'SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, LOCK TABLES, CREATE TEMPORARY TABLES, CREATE VIEW, SHOW VIEW, TRIGGER, EXECUTE';

export interface ServerSettings {
  readonly binary: ServerBinary;
  readonly dataDir: string;
  readonly port: number;
  /** Distinct per server, as replication asks for. */
  readonly serverId: number;
  /** For tests: commits reach the operating system but not the disk; no binary log; small buffers. */
  readonly fast: boolean;
  /** Statements run at each start, one a line. */
  readonly initFile: string;
}

/** The argument by which a running server of this data folder is recognised. */
export function dataDirArgument(dataDir: string): string {
  return `--datadir=${dataDir}`;
}

/** Arguments of a serving `mysqld` or `mariadbd`. */
export function serverArguments(settings: ServerSettings): string[] {
  const { binary, fast } = settings;
  return [
    ...baseArguments(binary, settings.dataDir),
    `--port=${settings.port}`,
    `--bind-address=${LOOPBACK}`,
    `--socket=${SOCKET}`,
    `--pid-file=${PID_FILE}`,
    `--init-file=${settings.initFile}`,
    '--skip-name-resolve',
    '--performance-schema=ON',
    // Together with the next three: 0.4 GB of memory per MySQL server instead of 0.55.
    '--max-connections=300',
    '--table-open-cache=800',
    '--table-definition-cache=600',
    '--innodb-log-buffer-size=8M',
    '--default-time-zone=+00:00',
    '--character-set-server=utf8mb4',
    `--innodb-buffer-pool-size=${fast ? '128M' : '256M'}`,
    ...durabilityArguments(settings),
    ...engineArguments(binary),
  ];
}

function engineArguments({ engine }: ServerBinary): string[] {
  if (engine === 'mysql') return ['--mysqlx=OFF'];
  return [
    '--collation-server=utf8mb4_general_ci',
    // Newer MariaDB reserves address space for a pool it may be told to grow: 8 TB by default.
    '--loose-innodb-buffer-pool-size-max=1G',
  ];
}

/** Folder of a server's temporary tables and sort files: beside its data, its own, and to be made. */
export function temporaryDir(dataDir: string): string {
  return join(dirname(dataDir), 'tmp');
}

/** Arguments that every run of the program on this data folder shares, initialisation included. */
export function baseArguments(binary: ServerBinary, dataDir: string): string[] {
  return [
    '--no-defaults',
    ...binary.locationArgs,
    dataDirArgument(dataDir),
    // A server that starts deletes what looks like left-over temporary tables, also its neighbours'.
    `--tmpdir=${temporaryDir(dataDir)}`,
    // Several servers on one machine use up the kernel's asynchronous I/O slots (fs.aio-max-nr).
    '--innodb-use-native-aio=OFF',
    // The packaged default is a folder of the system's that need not exist; NULL: no file access.
    ...(binary.engine === 'mysql' ? ['--secure-file-priv=NULL'] : []),
    // The servers refuse to run as root unless told to.
    ...(process.getuid?.() === 0 ? ['--user=root'] : []),
  ];
}

/**
 * `fast` still survives `kill -9` of the server: at value 2 a commit is handed to the operating
 * system, which value 0 would put off for a second, and pages are still written twice, so that none
 * is left half written. Nothing waits for the disk (`nosync`): only a power cut can lose it.
 */
function durabilityArguments({ binary, fast, serverId }: ServerSettings): string[] {
  if (fast) {
    const redo =
      binary.engine === 'mysql' ? '--loose-innodb-redo-log-capacity' : '--innodb-log-file-size';
    return [
      '--skip-log-bin',
      '--innodb-flush-log-at-trx-commit=2',
      '--sync-binlog=0',
      `${redo}=64M`,
      '--innodb-flush-method=nosync',
      // For what lies outside InnoDB: the log of DDL, table definitions, system tables.
      ...(binary.engine === 'mariadb' ? ['--loose-debug-no-sync'] : []),
    ];
  }
  return [
    '--log-bin=binlog',
    `--server-id=${serverId}`,
    ...(binary.engine === 'mariadb' ? ['--binlog-format=ROW'] : []),
    '--innodb-flush-log-at-trx-commit=1',
    '--sync-binlog=1',
  ];
}

export interface Accounts {
  readonly password: string;
  readonly adminPassword: string;
}

/**
 * The statements run at each start (`init-file`): they create database and accounts, and bring an
 * older data folder to today's privileges. Repeatable; kept out of the binary log.
 */
export function accountStatements(accounts: Accounts): string[] {
  const application = `'${APPLICATION_USER}'@'${LOOPBACK}'`;
  const admin = `'${ADMIN_USER}'@'${LOOPBACK}'`;
  return [
    'SET SESSION sql_log_bin = 0',
    `ALTER USER IF EXISTS '${ADMIN_USER}'@'localhost' IDENTIFIED BY '${accounts.adminPassword}'`,
    ...account(admin, accounts.adminPassword),
    `GRANT ALL PRIVILEGES ON *.* TO ${admin} WITH GRANT OPTION`,
    `CREATE DATABASE IF NOT EXISTS ${DATABASE}`,
    ...account(application, accounts.password),
    `GRANT PROCESS ON *.* TO ${application}`,
    `GRANT SELECT ON performance_schema.* TO ${application}`,
    `GRANT SELECT, EXECUTE ON sys.* TO ${application}`,
    `GRANT SELECT ON mysql.innodb_table_stats TO ${application}`,
    `GRANT SELECT ON mysql.innodb_index_stats TO ${application}`,
    databaseGrant(DATABASE),
  ];
}

/** Gives the application's user its privileges on one database. The name must be plain `[a-z0-9]`. */
export function databaseGrant(database: string): string {
  return `GRANT ${DATABASE_PRIVILEGES} ON ${database}.* TO '${APPLICATION_USER}'@'${LOOPBACK}'`;
}

function account(name: string, password: string): string[] {
  return [
    `CREATE USER IF NOT EXISTS ${name} IDENTIFIED BY '${password}'`,
    `ALTER USER ${name} IDENTIFIED BY '${password}'`,
  ];
}
