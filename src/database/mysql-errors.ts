import { assertNever } from '../kernel/exhaustive.ts';

/**
 * What a failure at the database means for the caller:
 *
 * - `contention`: deadlock, lock wait, snapshot conflict. The work was undone (after ROLLBACK); try again at once.
 * - `hindered`: the statement was stopped or refused for lack of a server resource; it had no effect. Try again later.
 * - `unreachable`: no connection could be made; nothing was sent.
 * - `crowded`: the server has no connection to give; nothing was sent.
 * - `lost`: the connection broke under a statement; whether it had its effect is unknown.
 * - `timeout`: our own time limit for a statement passed; the outcome is unknown, the server may still be at it.
 * - `deadline`: like `timeout`, but the caller allowed too little time to blame the server.
 * - `read-only`: the server takes no writes (a failover is under way); nothing was changed.
 * - `misconfigured`: login, privileges, schema or TLS do not fit; somebody must change a setting.
 * - `duplicate`: a unique key is taken.
 * - `assertion`: a statement of ours that fails on purpose did so (`assertOwned` of a batch packet, error 1242; a group
 *   with an order whose bucket or user is not here, error 1048).
 * - `too-large`: the packet exceeds the server's `max_allowed_packet`.
 * - `rejected`: any other error: the statement or its values are wrong.
 */
export type FailureKind =
  | 'contention'
  | 'hindered'
  | 'unreachable'
  | 'crowded'
  | 'lost'
  | 'timeout'
  | 'deadline'
  | 'read-only'
  | 'misconfigured'
  | 'duplicate'
  | 'assertion'
  | 'too-large'
  | 'rejected';

/**
 * Server error number → kind. Numbers, because MariaDB sends some without a symbolic name (1969).
 * Measured on both engines where FACTS-mysql 8 lists them; the others follow the error references of
 * MySQL 8.4/9 (dev.mysql.com, Server Error Message Reference) and MariaDB (MariaDB Error Codes).
 */
export const KIND_BY_ERRNO: ReadonlyMap<number, FailureKind> = new Map<number, FailureKind>([
  [1213, 'contention'], // ER_LOCK_DEADLOCK: the whole transaction is rolled back
  [1205, 'contention'], // ER_LOCK_WAIT_TIMEOUT: only the statement is undone; also NOWAIT on MariaDB
  [3572, 'contention'], // ER_LOCK_NOWAIT
  [1020, 'contention'], // ER_CHECKREAD: MariaDB with innodb_snapshot_isolation
  [1412, 'contention'], // ER_TABLE_DEF_CHANGED: a migration ran since the snapshot
  [1615, 'contention'], // ER_NEED_REPREPARE
  [1317, 'hindered'], // ER_QUERY_INTERRUPTED: KILL QUERY
  [3024, 'hindered'], // ER_QUERY_TIMEOUT: max_execution_time (MySQL, SELECT only)
  [1969, 'hindered'], // ER_STATEMENT_TIMEOUT: max_statement_time (MariaDB)
  [1461, 'hindered'], // ER_MAX_PREPARED_STMT_COUNT_REACHED
  [1206, 'hindered'], // ER_LOCK_TABLE_FULL
  [1637, 'hindered'], // ER_TOO_MANY_CONCURRENT_TRXS
  [1021, 'hindered'], // ER_DISK_FULL
  [1114, 'hindered'], // ER_RECORD_FILE_FULL: InnoDB out of space
  [1040, 'crowded'], // ER_CON_COUNT_ERROR
  [1203, 'crowded'], // ER_TOO_MANY_USER_CONNECTIONS
  [1226, 'crowded'], // ER_USER_LIMIT_REACHED
  [1129, 'unreachable'], // ER_HOST_IS_BLOCKED
  [1053, 'lost'], // ER_SERVER_SHUTDOWN
  [1152, 'lost'], // ER_ABORTING_CONNECTION
  [1158, 'lost'], // ER_NET_READ_ERROR
  [1159, 'lost'], // ER_NET_READ_INTERRUPTED
  [1160, 'lost'], // ER_NET_ERROR_ON_WRITE
  [1161, 'lost'], // ER_NET_WRITE_INTERRUPTED
  [1184, 'lost'], // ER_NEW_ABORTING_CONNECTION
  [1927, 'lost'], // ER_CONNECTION_KILLED (MariaDB)
  [3169, 'lost'], // ER_SESSION_WAS_KILLED
  [4031, 'lost'], // ER_CLIENT_INTERACTION_TIMEOUT: closed for idleness
  [1290, 'read-only'], // ER_OPTION_PREVENTS_STATEMENT: --read-only, --super-read-only
  [1792, 'read-only'], // ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
  [1836, 'read-only'], // ER_READ_ONLY_MODE
  [1044, 'misconfigured'], // ER_DBACCESS_DENIED_ERROR
  [1045, 'misconfigured'], // ER_ACCESS_DENIED_ERROR
  [1049, 'misconfigured'], // ER_BAD_DB_ERROR
  [1130, 'misconfigured'], // ER_HOST_NOT_PRIVILEGED
  [1142, 'misconfigured'], // ER_TABLEACCESS_DENIED_ERROR
  [1143, 'misconfigured'], // ER_COLUMNACCESS_DENIED_ERROR
  [1227, 'misconfigured'], // ER_SPECIFIC_ACCESS_DENIED_ERROR
  [1251, 'misconfigured'], // ER_NOT_SUPPORTED_AUTH_MODE
  [1698, 'misconfigured'], // ER_ACCESS_DENIED_NO_PASSWORD_ERROR
  [1820, 'misconfigured'], // ER_MUST_CHANGE_PASSWORD
  [1862, 'misconfigured'], // ER_MUST_CHANGE_PASSWORD_LOGIN
  [3118, 'misconfigured'], // ER_ACCOUNT_HAS_BEEN_LOCKED
  [3159, 'misconfigured'], // ER_SECURE_TRANSPORT_REQUIRED
  [1062, 'duplicate'], // ER_DUP_ENTRY
  [1586, 'duplicate'], // ER_DUP_ENTRY_WITH_KEY_NAME
  [1242, 'assertion'], // ER_SUBQUERY_NO_1_ROW
  [1048, 'assertion'], // ER_BAD_NULL_ERROR
  [1153, 'too-large'], // ER_NET_PACKET_TOO_LARGE
]);

/** Code set by Node or by mysql2, for failures without an answer from the server → kind. */
export const KIND_BY_CODE: ReadonlyMap<string, FailureKind> = new Map<string, FailureKind>([
  ['ECONNREFUSED', 'unreachable'],
  ['ENOTFOUND', 'unreachable'],
  ['EAI_AGAIN', 'unreachable'],
  ['EAI_FAIL', 'unreachable'],
  ['EHOSTUNREACH', 'unreachable'],
  ['EHOSTDOWN', 'unreachable'],
  ['ENETUNREACH', 'unreachable'],
  ['ENETDOWN', 'unreachable'],
  ['EADDRNOTAVAIL', 'unreachable'], // out of local ports
  ['EMFILE', 'unreachable'], // out of file handles
  ['ETIMEDOUT', 'lost'],
  ['ECONNRESET', 'lost'],
  ['ECONNABORTED', 'lost'],
  ['EPIPE', 'lost'],
  ['PROTOCOL_CONNECTION_LOST', 'lost'],
  ['PROTOCOL_ERROR', 'lost'],
  ['HANDSHAKE_NO_SSL_SUPPORT', 'misconfigured'],
  ['AUTH_SWITCH_PLUGIN_ERROR', 'misconfigured'],
  ['MYSQL_CLEAR_PASSWORD_NOT_ENABLED', 'misconfigured'],
  // mysql2 puts this over every failure of the TLS handshake, a reset as well as a wrong certificate,
  // so it may pass by itself.
  ['HANDSHAKE_SSL_ERROR', 'unreachable'],
]);

/** `connect`: until the session is set up, nothing of ours was sent. `statement`: afterwards. */
export type FailurePhase = 'connect' | 'statement';

/** Kind of an error thrown by the driver. */
export function classifyDriverError(error: unknown, phase: FailurePhase): FailureKind {
  const { errno, code, fatal } = driverErrorFields(error);
  // Node gives its own failures a negative errno; the server's numbers are positive.
  const known =
    errno !== undefined && errno > 0
      ? KIND_BY_ERRNO.get(errno)
      : code !== undefined
        ? KIND_BY_CODE.get(code)
        : undefined;
  // Some of mysql2's connection failures carry no code at all, only `fatal` (FACTS-mysql 8).
  const kind = known ?? (fatal && errno === undefined ? 'lost' : 'rejected');
  return phase === 'connect' && kind === 'lost' ? 'unreachable' : kind;
}

interface DriverErrorFields {
  readonly errno: number | undefined;
  readonly code: string | undefined;
  readonly sqlState: string | undefined;
  readonly fatal: boolean;
}

/** The fields by which driver errors are told apart; absent ones are undefined. */
export function driverErrorFields(error: unknown): DriverErrorFields {
  const fields = (typeof error === 'object' && error !== null ? error : {}) as Readonly<
    Record<string, unknown>
  >;
  const { errno, code, sqlState, fatal } = fields;
  return {
    errno: typeof errno === 'number' ? errno : undefined,
    code: typeof code === 'string' ? code : undefined,
    sqlState: typeof sqlState === 'string' ? sqlState : undefined,
    fatal: fatal === true,
  };
}

/** How a kind is treated. */
export interface FailurePolicy {
  /** The same call, if idempotent, may succeed later. */
  readonly retryable: boolean;
  /** Counts towards opening the shard's circuit: the server cannot be talked to. */
  readonly opensCircuit: boolean;
  /** The connection may not be used any more. */
  readonly destroysConnection: boolean;
}

export function failurePolicy(kind: FailureKind): FailurePolicy {
  switch (kind) {
    case 'contention':
    case 'hindered':
      return { retryable: true, opensCircuit: false, destroysConnection: false };
    case 'unreachable':
    case 'crowded':
    case 'lost':
    case 'timeout':
      return { retryable: true, opensCircuit: true, destroysConnection: true };
    case 'deadline':
    // The name may point to another server after a failover: a new connection finds it.
    case 'read-only':
      return { retryable: true, opensCircuit: false, destroysConnection: true };
    case 'too-large':
      return { retryable: false, opensCircuit: false, destroysConnection: true };
    case 'misconfigured':
    case 'duplicate':
    case 'assertion':
    case 'rejected':
      return { retryable: false, opensCircuit: false, destroysConnection: false };
    default:
      return assertNever(kind);
  }
}
