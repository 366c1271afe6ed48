import type { Refusal } from '../database/contracts.ts';
import { backoffMs } from '../kernel/backoff.ts';
import { AppError, RetryableError } from '../kernel/errors.ts';
import type { BucketId, OrderId, ShardId, UserId } from '../kernel/ids.ts';
import type { AmountCents } from '../kernel/money.ts';
import { timestampOf, type Timestamp } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import { bucketOf } from '../sharding/hash.ts';
import { routeBucket } from '../sharding/router.ts';
import { attemptChunk, type AttemptResult, type ChunkOutcome } from './batch-chunk.ts';
import type { ChunkKey, OrderRow } from './batch-statements.ts';
import { mendRefused, type RefusedBucket } from './mend-refused.ts';
import type { NewOrder } from './model.ts';
import { byPrimaryKey, rowSetOf, type RowSet } from './row-set.ts';

export interface WriteOptions {
  /** How long to go on redirecting, waiting and retrying, milliseconds. */
  readonly deadlineMs: number;
}

/** What became of a batch on any number of shards. Each row is in exactly one of the figures and lists. */
export interface BatchOutcome {
  readonly inserted: number;
  readonly duplicates: number;
  readonly conflicts: readonly OrderRow[];
  readonly missing: readonly OrderRow[];
  /** Rows whose shard could not be asked, or whose bucket had no owner, until the deadline; the last reason with them. */
  readonly unsettled: readonly OrderRow[];
  readonly reason: AppError | undefined;
}

export type BatchWriterServices = Pick<
  Services,
  'bucketMap' | 'clock' | 'config' | 'database' | 'probe' | 'random'
>;

export interface OrderBatchWriter {
  /**
   * Writes rows on whatever shards own them: one transaction per shard (and per {@link OrderRow.createdAtGiven}),
   * following buckets that move. Idempotent in its effect; a repetition finds its own rows as duplicates. Throws only
   * what a retry does not help; shards that do not answer leave their rows in `unsettled`.
   */
  writeOrders(rows: readonly OrderRow[], options: WriteOptions): Promise<BatchOutcome>;
  /**
   * Writes one chunk of an ingestion on one shard, in one transaction that also records its outcome under `key`: a
   * repetition gives the same outcome, however often it is delivered. Rows of buckets that have moved away are left
   * out (`refused`); a bucket that is being moved is waited for. Throws `shard-unavailable` (retryable) past the deadline.
   */
  writeChunk(
    shard: ShardId,
    key: ChunkKey,
    set: RowSet,
    options: WriteOptions,
  ): Promise<ChunkOutcome>;
}

/** Waits while a bucket is fenced: a fence is held for at most half a second by default (DESIGN 6). */
const FENCE_WAIT = { firstMs: 20, factor: 2, maxMs: 250 };

/** Longer than the instant between the two rows of a switch: whoever waits for this long looks whether its mover died. */
const MEND_FROM_ROUND = 2;

/** Shards written at once by one call; batches of a queue message span few. */
const SHARDS_AT_ONCE = 16;

/** An order as a row: what it lacks is filled in. */
export function toOrderRow(
  order: NewOrder,
  defaults: { readonly orderId: OrderId; readonly createdAt: Timestamp },
): OrderRow {
  return {
    bucket: bucketOf(order.userId),
    userId: order.userId as UserId,
    orderId: order.orderId ?? defaults.orderId,
    amountCents: order.amountCents as AmountCents,
    createdAt: order.createdAt ?? defaults.createdAt,
    createdAtGiven: order.createdAt !== undefined,
  };
}

export function createOrderBatchWriter(services: BatchWriterServices): OrderBatchWriter {
  return {
    writeOrders: (rows, options) => writeOrders(services, rows, options),
    writeChunk: (shard, key, set, options) => writeChunk(services, { shard, key, set }, options),
  };
}

async function writeChunk(
  services: BatchWriterServices,
  chunk: { readonly shard: ShardId; readonly key: ChunkKey; readonly set: RowSet },
  options: WriteOptions,
): Promise<ChunkOutcome> {
  const endsAtMs = services.clock.monotonicMs() + options.deadlineMs;
  for (let round = 1; ; round++) {
    const map =
      round === 1 ? await services.bucketMap.current() : await services.bucketMap.refresh();
    const result = await attempt(services, chunk, endsAtMs, (refused) =>
      // Recorded as refused, a bucket's rows go elsewhere for good; so there must be an elsewhere.
      [...refused].every(([bucket, refusal]) => {
        const target = refusal.movedTo ?? routeBucket(map, bucket).shard;
        return refusal.state !== 'fenced' && target !== chunk.shard;
      }),
    );
    if (result.kind === 'done') return result.outcome;
    const { shard } = chunk;
    const refused = [...result.refused].map(([bucket, refusal]) => ({ shard, bucket, refusal }));
    if (round >= MEND_FROM_ROUND) await mendRefused(services, refused, map);
    await waitForOwner(services, { shard: chunk.shard, round, endsAtMs });
  }
}

async function writeOrders(
  services: BatchWriterServices,
  rows: readonly OrderRow[],
  options: WriteOptions,
): Promise<BatchOutcome> {
  const endsAtMs = services.clock.monotonicMs() + options.deadlineMs;
  const state = new BatchProgress(rows);
  for (let round = 1; state.pending.length > 0; round++) {
    const map = await services.bucketMap.current();
    const groups = groupRows(
      state.pending,
      services.config.INGEST_CHUNK_ROWS,
      (bucket) => state.redirects.get(bucket) ?? routeBucket(map, bucket).shard,
    );
    state.beginRound();
    const settle = async (group: ShardGroup): Promise<void> => {
      try {
        const result = await attempt(
          services,
          { shard: group.shard, set: rowSetOf(group.rows) },
          endsAtMs,
          () => true,
        );
        if (result.kind === 'done') state.add(group, result.outcome);
      } catch (error) {
        if (!(error instanceof AppError) || !error.retryable) throw error;
        state.giveUp(group.rows, error);
      }
    };
    for (let from = 0; from < groups.length; from += SHARDS_AT_ONCE) {
      await Promise.all(groups.slice(from, from + SHARDS_AT_ONCE).map(settle));
    }
    if (state.pending.length === 0) break;
    if (services.clock.monotonicMs() >= endsAtMs) {
      state.giveUp(state.pending, noOwner(groups[0]?.shard));
      break;
    }
    await services.bucketMap.refresh();
    if (state.held.length === 0) continue;
    if (round >= MEND_FROM_ROUND) await mendRefused(services, state.held, map);
    await pause(services, round, endsAtMs);
  }
  return state.outcome();
}

/** What is known so far of a batch that goes in rounds. */
class BatchProgress {
  pending: readonly OrderRow[];
  /** Where shards said that buckets went: fresher than the map. */
  readonly redirects = new Map<BucketId, ShardId>();
  /** Refused in the round under way by shards that did not know where to go instead. */
  held: readonly RefusedBucket[] = [];
  #inserted = 0;
  #duplicates = 0;
  readonly #conflicts: OrderRow[] = [];
  readonly #missing: OrderRow[] = [];
  #unsettled: OrderRow[] = [];
  #reason: AppError | undefined;

  constructor(rows: readonly OrderRow[]) {
    this.pending = rows;
  }

  beginRound(): void {
    this.pending = [];
    this.held = [];
  }

  add({ shard, rows }: ShardGroup, outcome: ChunkOutcome): void {
    this.#inserted += outcome.inserted;
    this.#duplicates += outcome.duplicates;
    this.#conflicts.push(...outcome.conflictRows);
    this.#missing.push(...outcome.missing);
    if (outcome.refused.size === 0) return;
    this.pending = [...this.pending, ...rows.filter((row) => outcome.refused.has(row.bucket))];
    for (const [bucket, refusal] of outcome.refused) {
      if (!this.#redirect(bucket, refusal)) this.held = [...this.held, { shard, bucket, refusal }];
    }
  }

  giveUp(rows: readonly OrderRow[], reason: AppError): void {
    this.#unsettled = [...this.#unsettled, ...rows];
    this.#reason = reason;
  }

  outcome(): BatchOutcome {
    return {
      inserted: this.#inserted,
      duplicates: this.#duplicates,
      conflicts: this.#conflicts,
      missing: this.#missing,
      unsettled: this.#unsettled,
      reason: this.#reason,
    };
  }

  #redirect(bucket: BucketId, refusal: Refusal): boolean {
    // A shard that knows no better is not followed twice: the map decides again.
    this.redirects.delete(bucket);
    if (refusal.movedTo === null) return false;
    this.redirects.set(bucket, refusal.movedTo);
    return true;
  }
}

interface ShardGroup {
  readonly shard: ShardId;
  readonly rows: readonly OrderRow[];
}

async function attempt(
  services: BatchWriterServices,
  work: { readonly shard: ShardId; readonly set: RowSet; readonly key?: ChunkKey },
  endsAtMs: number,
  acceptRefusals: (refused: ReadonlyMap<BucketId, Refusal>) => boolean,
): Promise<AttemptResult> {
  const { clock, database, probe } = services;
  const now = timestampOf(clock.nowMs()) as Timestamp;
  const { set, key } = work;
  try {
    return await database.onShard(
      work.shard,
      (shard) => attemptChunk({ shard, set, key, acceptRefusals, now, probe }),
      { deadlineMs: Math.max(1, endsAtMs - clock.monotonicMs()) },
    );
  } catch (error) {
    throw isMisconfigured(error)
      ? RetryableError.shardUnavailable(work.shard, { cause: error })
      : error;
  }
}

/**
 * A shard that is set up wrongly (password, identity, schema) is away as far as waiting orders are concerned: somebody
 * will mend it, and until then they are put off, not refused. The log tells what is wrong.
 */
export function isMisconfigured(error: unknown): boolean {
  return error instanceof AppError && error.code === 'configuration-invalid';
}

/** Rows per shard, split by `createdAtGiven` and by size, each sorted by primary key. */
export function groupRows(
  rows: readonly OrderRow[],
  maxRows: number,
  shardOf: (bucket: BucketId) => ShardId,
): ShardGroup[] {
  const groups = new Map<string, { shard: ShardId; rows: OrderRow[] }>();
  for (const row of rows) {
    const shard = shardOf(row.bucket);
    const key = `${shard}/${row.createdAtGiven}`;
    const group = groups.get(key) ?? { shard, rows: [] };
    group.rows.push(row);
    groups.set(key, group);
  }
  return [...groups.values()].flatMap((group) => {
    group.rows.sort(byPrimaryKey);
    const parts: ShardGroup[] = [];
    for (let from = 0; from < group.rows.length; from += maxRows) {
      parts.push({ shard: group.shard, rows: group.rows.slice(from, from + maxRows) });
    }
    return parts;
  });
}

async function waitForOwner(
  services: BatchWriterServices,
  wait: { readonly shard: ShardId; readonly round: number; readonly endsAtMs: number },
): Promise<void> {
  if (services.clock.monotonicMs() >= wait.endsAtMs) throw noOwner(wait.shard);
  await pause(services, wait.round, wait.endsAtMs);
}

async function pause(
  services: BatchWriterServices,
  round: number,
  endsAtMs: number,
): Promise<void> {
  const left = Math.max(0, endsAtMs - services.clock.monotonicMs());
  await services.clock.sleep(Math.min(left, backoffMs(FENCE_WAIT, round, services.random)));
}

function noOwner(shard: ShardId | undefined): RetryableError {
  return RetryableError.shardUnavailable(shard ?? -1, {
    details: { reason: 'bucket in transition' },
  });
}
