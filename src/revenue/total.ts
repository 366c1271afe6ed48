import type { SqlRunner } from '../database/contracts.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { startDeadline } from '../kernel/deadline.ts';
import type { Deadline } from '../kernel/deadline.ts';
import { AppError, BugError, RetryableError } from '../kernel/errors.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { timestampOf } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import { combine, totalsOf } from './model.ts';
import type { Combined, RevenueTotal, ShardAnswer } from './model.ts';
import { sumOneBucket, sumOwnedBuckets, sumShard } from './store.ts';
import type { Sums } from './store.ts';

export type TotalServices = Pick<Services, 'config' | 'clock' | 'database'>;

/** Buckets asked for one by one at the same time; there are as many as moved within the second that the sum takes. */
const STRAYS_AT_ONCE = 8;

/**
 * The revenue of all shards. Each shard sums what it owns, at its own moment; buckets that moved in between are asked
 * for again at their owner, and orders transferred in between count once, by what the ledgers tell (`crossings.ts`). Throws `shard-unavailable` (retryable) when a shard does not answer in time, unless
 * `partial` is set: then the shards that did answer are summed and the others named.
 */
export async function revenueTotal(
  services: TotalServices,
  options: { readonly partial: boolean },
): Promise<RevenueTotal> {
  const { config, clock, database } = services;
  const deadline = startDeadline(clock, config.REVENUE_DEADLINE_MS);
  // Before the first statement begins: whatever was acknowledged by now is in every snapshot that follows.
  const startMs = clock.nowMs();
  const asOf = timestampOf(startMs);
  if (asOf === undefined) throw new BugError('the clock is outside 1970 … 9999');
  const away = new Set<number>();
  const question: Question = { startMs, deadline, away: options.partial ? away : undefined };
  const answers = await askShards(services, question);
  const combined = await askStrays(services, question, answers);
  const complete = combined.missing.length === 0;
  return {
    ...totalsOf(
      combined,
      database.shardIds().filter((shard) => !away.has(shard)),
    ),
    complete,
    asOf,
    ...(!complete && { missingShards: [...away].toSorted((a, b) => a - b) }),
  };
}

interface Question {
  readonly startMs: number;
  readonly deadline: Deadline;
  /** Takes in the shards that are away, where the total may do without them. */
  readonly away: Set<number> | undefined;
}

/**
 * Every shard's own sums. A shard that gave a bucket away before another was asked is asked again, bucket by bucket: there
 * are few, as all begin at about the same time, and each only once. Without `away` the first shard that is away ends it.
 */
async function askShards(services: TotalServices, question: Question): Promise<ShardAnswer[]> {
  const { config, database } = services;
  const atOnce = config.REVENUE_MAX_SHARDS_AT_ONCE;
  const ids = database.shardIds();
  const answers = await mapBounded(ids, atOnce, (shard) =>
    askShard(services, question, { shard, sum: sumShard }),
  );
  for (;;) {
    const { entangled } = combine(answers);
    if (entangled.length === 0) return answers;
    const again = ids.filter((shard) => entangled.includes(shard));
    const detailed = await mapBounded(again, atOnce, (shard) =>
      askShard(services, question, { shard, sum: sumOwnedBuckets }),
    );
    for (const answer of detailed) {
      answers[answers.findIndex(({ shard }) => shard === answer.shard)] = answer;
    }
  }
}

async function askShard(
  { database }: TotalServices,
  { startMs, deadline, away }: Question,
  { shard, sum }: { readonly shard: ShardId; readonly sum: typeof sumShard },
): Promise<ShardAnswer> {
  const limit = { deadlineMs: deadline.remainingMs() };
  try {
    const run = (each: SqlRunner): Promise<Sums> => sum(each, startMs);
    return { shard, ...(await database.onShard(shard, run, limit)) };
  } catch (error) {
    if (away === undefined || !isAway(error)) throw error;
    away.add(shard);
    return { shard, sums: [], sightings: [] };
  }
}

/** Completes the answers by the buckets that no shard owned when it was asked, as far as their owners are there. */
async function askStrays(
  services: TotalServices,
  { startMs, deadline, away }: Question,
  answers: readonly ShardAnswer[],
): Promise<Combined> {
  const { database } = services;
  const found = combine(answers);
  const ask = async (stray: number): Promise<ShardAnswer | undefined> => {
    const bucket = stray as BucketId;
    const { shard: expected } = await database.route(bucket);
    if (away?.has(expected) === true) return undefined;
    try {
      return await database.onOwner(
        bucket,
        async (shard) => {
          const attempt = await sumOneBucket(shard, bucket, startMs);
          if (attempt.kind === 'refused') return attempt;
          return { kind: 'answered', value: { shard: shard.id, ...attempt.value } };
        },
        { deadlineMs: deadline.remainingMs() },
      );
    } catch (error) {
      if (away === undefined || !isAway(error)) throw error;
      away.add(shardOf(error) ?? expected);
      return undefined;
    }
  };
  const strays = await mapBounded(found.missing, STRAYS_AT_ONCE, ask);
  return combine([...answers, ...strays.filter((answer) => answer !== undefined)]);
}

function isAway(error: unknown): boolean {
  return error instanceof RetryableError && error.code === 'shard-unavailable';
}

function shardOf(error: unknown): number | undefined {
  const shardId = error instanceof AppError ? error.details['shardId'] : undefined;
  return typeof shardId === 'number' ? shardId : undefined;
}
