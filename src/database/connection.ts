import { connect, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { rootCertificates } from 'node:tls';
import { createConnection, format } from 'mysql2';
import type { Connection, ConnectionOptions } from 'mysql2';
import type { ShardSettings } from '../config.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { SqlValue } from './contracts.ts';
import { DatabaseError } from './database-error.ts';
import { signInWithToken, type AuthPlugins } from './entra-sign-in.ts';
import type { TokenSource } from './entra-tokens.ts';
import type { FailureKind, FailurePhase } from './mysql-errors.ts';

/**
 * The server ends a session that has been silent for this long, also inside a transaction: an instance that
 * was frozen or vanished without a word must not hold its locks and its connection for MySQL's default of 8 hours.
 * Longer than {@link POOL_IDLE_MS}, so that in peace it is we who close.
 */
const SESSION_SILENCE_SECONDS = 120;
/** Pooled connections idle for longer are closed; also below the 4 minutes after which Azure's load balancers drop a flow. */
export const POOL_IDLE_MS = 60_000;
/** A write waits at most this long for a row lock; the fencer behind it waits 1 s at a time (FACTS-mysql 1). */
const LOCK_WAIT_SECONDS = 5;
/** A schema change that cannot get its metadata lock gives up: everybody queues behind it (FACTS-mysql 6). */
const METADATA_LOCK_WAIT_SECONDS = 5;
/**
 * A caller's limit shorter than this says nothing about the server when it passes: the failure is then
 * `deadline`, which does not count against the shard's circuit.
 */
export const SERVER_TO_BLAME_MS = 1_000;

export interface ConnectionSettings {
  readonly shard: ShardSettings;
  /** For shards with `auth: "entra"`: each new connection signs in with a token of its own asking. */
  readonly tokens?: TokenSource | undefined;
  /** For TCP, TLS and login together; a token, where one has to be fetched, has as long again. */
  readonly connectTimeoutMs: number;
  /** The server's own limit for a statement: every one on MariaDB, SELECT on MySQL. */
  readonly statementTimeoutMs: number;
  /** Only where packets are sent: with it, an injected `;` could start a statement. */
  readonly multipleStatements: boolean;
  /** Prepared statements kept per connection; the server's limit is for all connections together. */
  readonly maxPreparedStatements: number;
}

export type Protocol = 'text' | 'prepared';

/** One physical connection whose session is set up: READ COMMITTED, UTC, strict mode, short lock wait. */
export interface DriverConnection {
  /**
   * Runs one statement (or packet) and returns the driver's result. Throws `DatabaseError`; after a kind that
   * destroys the connection it has been destroyed. A limit that passes destroys it too: the server goes on with the
   * statement and would answer the next one with its result (FACTS-mysql 8).
   */
  run(
    protocol: Protocol,
    text: string,
    values: readonly SqlValue[],
    limitMs: number,
  ): Promise<unknown>;
  /** False once it is destroyed or broken. */
  readonly usable: boolean;
  /** Closes the socket now, with whatever is under way. */
  destroy(): void;
  /** Says goodbye and closes, within a second. */
  end(): Promise<void>;
}

/**
 * One statement for all engines: text in `/*!80000 … *\/` is run by MySQL only (MariaDB skips versions 50700 to
 * 99999), text in `/*M! … *\/` by MariaDB only. READ COMMITTED, because all locking is explicit and gap locks would
 * only make writers of one bucket wait for each other. Table statistics are asked of the server, not of MySQL's cache,
 * which is up to a day old.
 */
function sessionSetup(statementTimeoutMs: number): string {
  return [
    `SET SESSION time_zone = '+00:00'`,
    `SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'`,
    `SESSION lock_wait_timeout = ${METADATA_LOCK_WAIT_SECONDS}`,
    `SESSION innodb_lock_wait_timeout = ${LOCK_WAIT_SECONDS}`,
    `SESSION wait_timeout = ${SESSION_SILENCE_SECONDS}` +
      ` /*!80000 , SESSION transaction_isolation = 'READ-COMMITTED', SESSION max_execution_time = ${statementTimeoutMs}, SESSION information_schema_stats_expiry = 0 */` +
      ` /*M! , SESSION tx_isolation = 'READ-COMMITTED', SESSION max_statement_time = ${statementTimeoutMs / 1000} */`,
  ].join(', ');
}

/**
 * Connects and sets the session up; nobody gets the connection before that is done. Throws `DatabaseError`
 * `unreachable`, `crowded` or `misconfigured`, and `configuration-invalid` for what is not supported.
 */
export async function openConnection(settings: ConnectionSettings): Promise<DriverConnection> {
  const { shard } = settings;
  const unsupported = unsupportedSetting(shard);
  if (unsupported !== undefined) {
    throw PermanentError.configuration([
      { path: 'SHARDS', message: `shard "${shard.name}" ${unsupported}` },
    ]);
  }
  if (shard.auth === 'password') return connectOnce(settings, undefined);
  return signInWithToken(settings.tokens, settings.connectTimeoutMs, (plugins) =>
    connectOnce(settings, plugins),
  );
}

async function connectOnce(
  settings: ConnectionSettings,
  authPlugins: AuthPlugins | undefined,
): Promise<DriverConnection> {
  const { shard } = settings;
  // Our own socket: the driver's destroy() only half-closes, which leaves it open for as long as a frozen
  // server does not answer.
  const socket = connect({
    host: shard.host,
    port: shard.port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  });
  const connection = createConnection({
    ...driverOptions(settings),
    ...(authPlugins !== undefined && { authPlugins }),
    stream: socket,
  });
  const opened = new OpenConnection(connection, socket);
  await opened.handshake(settings.connectTimeoutMs);
  await opened.send(
    'connect',
    'text',
    sessionSetup(settings.statementTimeoutMs),
    [],
    settings.connectTimeoutMs,
  );
  return opened;
}

function unsupportedSetting(shard: ShardSettings): string | undefined {
  // The driver would compare the certificate with "localhost" instead.
  if (shard.ssl === 'required' && isIP(shard.host) !== 0) {
    return 'has an IP address as its host; with ssl "required" its name is needed, to compare the certificate with';
  }
  return undefined;
}

function driverOptions(settings: ConnectionSettings): ConnectionOptions {
  const { shard } = settings;
  return {
    host: shard.host,
    port: shard.port,
    user: shard.user,
    ...(shard.password === undefined ? {} : { password: shard.password }),
    database: shard.database,
    charset: 'utf8mb4',
    connectTimeout: settings.connectTimeoutMs,
    multipleStatements: settings.multipleStatements,
    maxPreparedStatements: settings.maxPreparedStatements,
    // 64-bit numbers as text: as numbers they come back silently wrong past 2^53 (FACTS-mysql 8).
    supportBigNumbers: true,
    bigNumberStrings: true,
    dateStrings: true,
    timezone: 'Z',
    compress: false,
    // Without values there is nothing to put in: the driver would search a packet of a megabyte for placeholders.
    queryFormat: (text: string, values: unknown) =>
      Array.isArray(values) && values.length > 0 ? format(text, values, false, 'Z') : text,
    // FOUND_ROWS stays on, the driver's default: the idempotent inserts count on it (FACTS-mysql 3).
    ...(shard.ssl === 'disabled' ? {} : { ssl: tlsOptions(shard) }),
  };
}

function tlsOptions(shard: ShardSettings): NonNullable<ConnectionOptions['ssl']> {
  return {
    rejectUnauthorized: true,
    // Without it any certificate of a trusted root would do, also that of another server.
    verifyIdentity: true,
    minVersion: 'TLSv1.2',
    ...(shard.ca === undefined ? {} : { ca: [...rootCertificates, shard.ca] as unknown as string }),
  };
}

class OpenConnection implements DriverConnection {
  readonly #connection: Connection;
  readonly #socket: Socket;
  /** Fails the statements under way: the driver keeps silent about a connection that is closing already. */
  readonly #underWay = new Set<(error: unknown) => void>();
  #usable = true;

  constructor(connection: Connection, socket: Socket) {
    this.#connection = connection;
    this.#socket = socket;
    // Also keeps a connection that dies while idle from ending the process.
    connection.on('error', (error) => this.#break(error));
    connection.on('end', () => this.#break(CLOSED_BY_SERVER));
    socket.on('close', () => this.#break(CLOSED_BY_SERVER));
  }

  get usable(): boolean {
    return this.#usable;
  }

  async handshake(limitMs: number): Promise<void> {
    await this.#await('connect', limitMs, (done) => {
      this.#connection.connect((error) => done(error, undefined));
    });
  }

  run(
    protocol: Protocol,
    text: string,
    values: readonly SqlValue[],
    limitMs: number,
  ): Promise<unknown> {
    return this.send('statement', protocol, text, values, limitMs);
  }

  send(
    phase: FailurePhase,
    protocol: Protocol,
    text: string,
    values: readonly SqlValue[],
    limitMs: number,
  ): Promise<unknown> {
    return this.#await(phase, limitMs, (done) => {
      if (protocol === 'prepared') this.#connection.execute(text, [...values], done);
      else this.#connection.query(text, [...values], done);
    });
  }

  destroy(): void {
    this.#break(CLOSED_BY_US);
  }

  end(): Promise<void> {
    if (!this.#usable) return Promise.resolve();
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.destroy();
        resolve();
      };
      const timer = setTimeout(finish, 1_000);
      this.#connection.end(finish);
    });
  }

  #break(error: unknown): void {
    if (!this.#usable) return;
    this.#usable = false;
    this.#connection.destroy();
    this.#socket.destroy();
    for (const fail of this.#underWay) fail(error);
  }

  /** One exchange with the server, ended by its answer, the limit, or the end of the connection. */
  #await(
    phase: FailurePhase,
    limitMs: number,
    start: (done: (error: unknown, result: unknown) => void) => void,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.#underWay.delete(fail);
      };
      const fail = (error: unknown): void => {
        settle();
        const known = DatabaseError.from(error, phase);
        const spoilt = !(known instanceof DatabaseError) || known.policy.destroysConnection;
        if (spoilt || phase === 'connect') this.destroy();
        reject(known);
      };
      const timer = setTimeout(() => fail(timeLimitPassed(phase, limitMs)), limitMs);
      this.#underWay.add(fail);
      try {
        start((error, result) => {
          if (error) {
            fail(error);
            return;
          }
          settle();
          resolve(result);
        });
      } catch (error) {
        fail(error); // The driver refuses `undefined` among the values this way.
      }
    });
  }
}

/** As the driver reports it when it does. */
const CLOSED_BY_SERVER = { code: 'PROTOCOL_CONNECTION_LOST' };
const CLOSED_BY_US = { code: 'ECONNABORTED' };

function timeLimitPassed(phase: FailurePhase, limitMs: number): DatabaseError {
  const kind: FailureKind =
    phase === 'connect' ? 'unreachable' : limitMs < SERVER_TO_BLAME_MS ? 'deadline' : 'timeout';
  return new DatabaseError(kind, { details: { limitMs } });
}
