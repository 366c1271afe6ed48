import type { BucketId, ShardId } from '../kernel/ids.ts';
import type { Route } from '../sharding/router.ts';

/** A value MySQL can take as a parameter. Ids travel as decimal text, binary keys as Buffers. */
export type SqlValue = string | number | bigint | Buffer | null;

/** One result row. BIGINT and DECIMAL arrive as text, DATETIME as text (`fromSqlDatetime`), INT as number. */
export type SqlRow = Readonly<Record<string, SqlValue>>;

export interface WriteResult {
  /** mysql2 runs with FOUND_ROWS: a no-op ON DUPLICATE KEY UPDATE counts as 1 (FACTS-mysql 0.5). */
  readonly affectedRows: number;
  /** Value of LAST_INSERT_ID(expr) in the OK packet, 0 when it was not set. */
  readonly insertId: number;
}

/**
 * What can be run on one shard, on any of its connections or inside a transaction. Every call has a time limit.
 * Throws `DatabaseError` (database-error.ts): leave the retryable kinds to `ShardedDatabase`, tell the others apart
 * with `isFailure(error, 'duplicate')`.
 */
export interface SqlRunner {
  /** A fixed text as a prepared statement: writes and point reads. Never for generated IN or VALUES lists. */
  execute(text: string, values: readonly SqlValue[]): Promise<WriteResult>;
  /** Rows of a fixed text through a prepared statement: point reads. */
  select(text: string, values: readonly SqlValue[]): Promise<readonly SqlRow[]>;
  /** Rows through the text protocol: large reads and generated lists (FACTS-mysql 8). Values are escaped by the driver. */
  query(text: string, values: readonly SqlValue[]): Promise<readonly SqlRow[]>;
}

/** One statement's outcome in a packet: the rows of a SELECT, or a write's result. */
export type PacketResult = readonly SqlRow[] | WriteResult;

export interface TransactionOptions {
  /** Longest wait for a row lock, seconds (whole, from 1); default 5. The fencer takes 1, since writers queue behind it. */
  readonly lockWaitSeconds?: number;
}

export interface LockLimits {
  /** Longest wait for a row lock, seconds (whole, from 1). */
  readonly lockWaitSeconds: number;
  /** Called right before the statement is sent, at each try. */
  readonly onSend?: (() => void) | undefined;
}

/** How writes of many callers become one statement. One object for each kind of write, for the life of the process. */
export interface GroupKind<Item> {
  /** Writes items, some hundred at most, and gives those that were written. The others had no effect. */
  readonly together: (shard: Shard, items: readonly Item[]) => Promise<ReadonlySet<Item>>;
}

/** One shard's connections. */
export interface Shard extends SqlRunner {
  readonly id: ShardId;
  readonly name: string;
  /** One transaction (READ COMMITTED) on one connection; rolled back on throw; the connection is destroyed when its state is unknown. */
  transaction<T>(run: (tx: SqlRunner) => Promise<T>, options?: TransactionOptions): Promise<T>;
  /**
   * As `execute`, committed by itself, with a lock wait of its own. Answers as soon as the server has, which is one or two
   * round trips earlier than a transaction: for what others wait behind.
   */
  executeWithin(
    limits: LockLimits,
    text: string,
    values: readonly SqlValue[],
  ): Promise<WriteResult>;
  /**
   * Sends several statements as one transaction in one packet on a batch connection, in order, stopping at the first
   * error (then the transaction is rolled back before the error is thrown). One result per statement. At most
   * 8 MiB of text.
   */
  packet(statements: readonly string[]): Promise<readonly PacketResult[]>;
  /**
   * Writes `item` together with those of other callers when the shard is busy, else by `alone` (ADR 0023). Returns `written`
   * or what `alone` gave. Throws what `alone` throws, `DatabaseError` of the statement for all, and `too-many-requests`.
   */
  grouped<Item, T>(
    kind: GroupKind<Item>,
    item: Item,
    alone: () => Promise<T>,
  ): Promise<T | 'written'>;
  /** Quotes a value for {@link packet}, whose statements take no parameters. */
  literal(value: SqlValue): string;
}

/** One connection throughout, outside a transaction unless `command` starts one. */
export interface Session extends SqlRunner {
  /** Runs what cannot be prepared or returns nothing of interest: SET, START TRANSACTION, DDL. */
  command(text: string, limitMs?: number): Promise<void>;
  /**
   * As {@link command}, for statements that answer with rows (ANALYZE, CHECK). When `limitMs` passes, the connection is
   * destroyed and the server may go on with the statement.
   */
  report(text: string, limitMs?: number): Promise<readonly SqlRow[]>;
  /** Closes the connection afterwards instead of giving it back: its session was changed. */
  discard(): void;
}

export type OwnershipState = 'owned' | 'fenced' | 'receiving' | 'gone';

/** The shard does not own the bucket now. `absent`: it has no row for it. */
export interface Refusal {
  readonly kind: 'refused';
  readonly state: OwnershipState | 'absent';
  /** Where it went, when the shard knows: followed at once, like a redirect. */
  readonly movedTo: ShardId | null;
}

/** What one attempt on a shard found: an answer, or that it is not (or no longer) the owner. */
export type Attempt<T> = { readonly kind: 'answered'; readonly value: T } | Refusal;

export interface CallOptions {
  /** How long to go on waiting, redirecting and retrying, milliseconds. */
  readonly deadlineMs: number;
}

/** The one place that joins map, pools and fence. */
export interface ShardedDatabase {
  /**
   * Runs `attempt` on the shard that owns `bucket`. A refusal is followed (`movedTo`), waited out (`fenced`,
   * `receiving`) or answered by a map refresh; transient failures (deadlock, lost connection, …) are tried again
   * with backoff and jitter: `attempt` must therefore be idempotent. Throws `shard-unavailable` (retryable) when the
   * deadline passes or the shard's circuit is open; permanent errors pass through unchanged.
   */
  onOwner<T>(
    bucket: BucketId,
    attempt: (shard: Shard, route: Route) => Promise<Attempt<T>>,
    options: CallOptions,
  ): Promise<T>;
  /** Runs `run` on one shard whatever it owns, with the same treatment of transient failures. For aggregates and operations. */
  onShard<T>(shard: ShardId, run: (shard: Shard) => Promise<T>, options: CallOptions): Promise<T>;
  /**
   * Runs `use` once on one connection, which is closed afterwards: for work that needs the same session throughout (a named
   * lock, a long statement). It counts against the pool. Nothing is tried again; throws as `onShard` does when the shard
   * cannot be used, and `DatabaseError` of the statements. The deadline holds for statements without a limit of their own.
   */
  onSession<T>(
    shard: ShardId,
    use: (session: Session) => Promise<T>,
    options: CallOptions,
  ): Promise<T>;
  /** Route of a bucket by the cached map (loads it on first use). */
  route(bucket: BucketId): Promise<Route>;
  /** Ids of all configured shards, ascending. */
  shardIds(): readonly ShardId[];
  /** State of the shard as seen from this instance, for health and operations. Never throws. */
  inspect(shard: ShardId): Promise<ShardStatus>;
  /**
   * Connects to every shard and checks it (schema, identity, ownership) ahead of the first request. Never throws and
   * never delays anybody: a shard that is not ready is tried again by whoever needs it.
   */
  prewarm(): Promise<void>;
  close(): Promise<void>;
}

export interface PoolUse {
  readonly open: number;
  readonly idle: number;
  readonly waiting: number;
  readonly limit: number;
}

export interface ShardStatus {
  readonly id: ShardId;
  readonly name: string;
  readonly reachable: boolean;
  /** Of one `SELECT 1`, milliseconds; null when unreachable. */
  readonly latencyMs: number | null;
  readonly serverVersion: string | null;
  readonly circuit: 'closed' | 'open' | 'half-open';
  readonly pool: PoolUse;
  readonly batchPool: PoolUse;
  /** Estimated rows per sharded table, from the server's statistics; empty when unreachable. */
  readonly estimatedRows: Readonly<Record<string, number>>;
  /** Why it is not usable (unreachable, wrong cluster, schema clash), in words without host names. */
  readonly problem: string | null;
}
