import { backoffMs } from '../kernel/backoff.ts';
import type { BackoffPolicy } from '../kernel/backoff.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError, RetryableError } from '../kernel/errors.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Logger } from '../kernel/logger.ts';
import type { BucketMap } from '../sharding/bucket-map.ts';
import { routeBucket } from '../sharding/router.ts';
import type { Route } from '../sharding/router.ts';
import type { BucketMapSource } from '../storage/contracts.ts';
import type { Attempt, Refusal } from './contracts.ts';
import type { Standstill } from './mend-bucket.ts';
import { withinDeadline } from './time-limit.ts';

/** A fence is held for at most the stall limit of a move (500 ms by default, DESIGN 6): look often, but not in step. */
const REFUSED_BACKOFF: BackoffPolicy = { firstMs: 10, factor: 1.5, maxMs: 150 };
/**
 * Redirects followed in a row without a pause. More than a bucket's recent moves can make; shards that point at each
 * other must not keep us running in circles.
 */
const MAX_REDIRECTS = 8;
/**
 * Refusals after which a caller asks whether the bucket's mover is dead: some 30 ms, longer than the instant between
 * the two shards' rows of a switch, so that callers do not add to the work of a move that goes as it should.
 */
const MEND_AFTER_REFUSALS = 3;

export interface OwnerCallOptions<T> {
  readonly bucket: BucketId;
  readonly bucketMap: Pick<BucketMapSource, 'current' | 'refresh'>;
  readonly isConfigured: (shard: ShardId) => boolean;
  readonly attempt: (route: Route) => Promise<Attempt<T>>;
  /** Does what a dead mover left undone; true when another attempt makes sense at once. */
  readonly mend: (at: Standstill) => Promise<boolean>;
  readonly clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  readonly random: () => number;
  readonly logger: Logger;
  /** Monotonic milliseconds. */
  readonly deadlineAtMs: number;
  readonly watcher?: OwnerCallWatcher | undefined;
}

/** Is told how a call gets on; for telemetry. */
export interface OwnerCallWatcher {
  redirected(from: ShardId): void;
  paused(at: ShardId, state: Refusal['state'], ms: number): void;
}

/** What a refusal calls for. */
export type NextStep =
  /** Ask that shard at once. */
  | { readonly kind: 'redirect'; readonly shard: ShardId }
  /** The state will change here soon: wait and ask the same shard. */
  | { readonly kind: 'wait' }
  /** This shard cannot say who owns the bucket: look at the map. */
  | { readonly kind: 'look-up' };

/** Decides on a refusal by `shard`; pure. `redirects`: how many were followed since the last pause. */
export function afterRefusal(refusal: Refusal, shard: ShardId, redirects: number): NextStep {
  const { state, movedTo } = refusal;
  if (movedTo !== null && movedTo !== shard && redirects < MAX_REDIRECTS) {
    return { kind: 'redirect', shard: movedTo };
  }
  return state === 'fenced' ? { kind: 'wait' } : { kind: 'look-up' };
}

/**
 * Runs `attempt` on the owner of a bucket: starts where the map says, follows redirects at once (and has the map
 * refreshed meanwhile), waits out fences, looks the owner up again when a shard knows nothing of the bucket or cannot be
 * reached. A caller that is held up has the bucket mended where its mover is dead. Throws `shard-unavailable` at the
 * deadline; what `attempt` throws otherwise passes unchanged.
 */
export async function callOwner<T>(options: OwnerCallOptions<T>): Promise<T> {
  let route = await routeBy(options, options.bucketMap.current());
  let redirects = 0;
  let sentBy: ShardId | undefined;
  for (let refusals = 1; ; refusals++) {
    const outcome = await attemptOrReroute(options, route);
    if (outcome.kind === 'answered') return outcome.value;
    if (outcome.kind === 'rerouted') {
      route = outcome.route;
      sentBy = undefined;
      continue;
    }
    const step = afterRefusal(outcome, route.shard, redirects);
    logRefusal(options.logger, route, outcome, step);
    if (step.kind === 'redirect') {
      redirects += 1;
      options.watcher?.redirected(route.shard);
      sentBy = route.shard;
      route = { ...route, shard: step.shard };
      assertConfigured(options, route);
      refreshInBackground(options);
    } else {
      redirects = 0;
      if (refusals >= MEND_AFTER_REFUSALS && (await mend(options, route, outcome, sentBy))) {
        continue;
      }
      await pause(options, route, outcome, refusals);
      if (step.kind === 'look-up') {
        route = (await lookUp(options)) ?? route;
        sentBy = undefined;
      }
    }
  }
}

type Outcome<T> = Attempt<T> | { readonly kind: 'rerouted'; readonly route: Route };

/** One attempt; when the shard cannot be reached and the bucket turns out to have a new owner, the way there. */
async function attemptOrReroute<T>(
  options: OwnerCallOptions<T>,
  route: Route,
): Promise<Outcome<T>> {
  assertConfigured(options, route);
  try {
    return await options.attempt(route);
  } catch (error) {
    const unreachable = error instanceof AppError && error.code === 'shard-unavailable';
    if (!unreachable || options.clock.monotonicMs() >= options.deadlineAtMs) throw error;
    const now = await lookUp(options);
    if (now === undefined || now.shard === route.shard || now.mapVersion <= route.mapVersion) {
      throw error;
    }
    return { kind: 'rerouted', route: now };
  }
}

/** Never throws: whoever cannot mend waits, as before. */
async function mend<T>(
  options: OwnerCallOptions<T>,
  route: Route,
  refusal: Refusal,
  sentBy: ShardId | undefined,
): Promise<boolean> {
  const fields = { shardId: route.shard, bucketId: route.bucket, state: refusal.state };
  try {
    const mended = await options.mend({
      bucket: route.bucket,
      shard: route.shard,
      refusal,
      sentBy,
    });
    if (mended) options.logger.log('warn', 'database.bucket_mended', fields);
    return mended && options.clock.monotonicMs() < options.deadlineAtMs;
  } catch (error) {
    options.logger.log('warn', 'database.mend_failed', { ...fields, ...errorFields(error) });
    return false;
  }
}

/** The route by a map that is being read; a store that is slow must not hold the caller past the deadline. */
async function routeBy<T>(
  options: OwnerCallOptions<T>,
  reading: Promise<BucketMap>,
): Promise<Route> {
  const { bucket, clock, deadlineAtMs } = options;
  const late = (): Error =>
    RetryableError.storageUnavailable({ details: { reason: 'no bucket map in time' } });
  return routeBucket(await withinDeadline(reading, deadlineAtMs, clock, late), bucket);
}

/** The route by the newest map, or undefined when the map cannot be read now. */
async function lookUp<T>(options: OwnerCallOptions<T>): Promise<Route | undefined> {
  try {
    return await routeBy(options, options.bucketMap.refresh());
  } catch (error) {
    options.logger.log('warn', 'database.map_refresh_failed', errorFields(error));
    return undefined;
  }
}

function refreshInBackground<T>(options: OwnerCallOptions<T>): void {
  options.bucketMap.refresh().catch((error: unknown) => {
    options.logger.log('warn', 'database.map_refresh_failed', errorFields(error));
  });
}

async function pause<T>(
  options: OwnerCallOptions<T>,
  route: Route,
  refusal: Refusal,
  refusals: number,
): Promise<void> {
  const { clock, random, deadlineAtMs } = options;
  const waitMs = backoffMs(REFUSED_BACKOFF, refusals, random);
  if (clock.monotonicMs() + waitMs >= deadlineAtMs) {
    throw RetryableError.shardUnavailable(route.shard, {
      details: { reason: 'bucket has no owner yet', bucketId: route.bucket, state: refusal.state },
      retryAfterSeconds: 1,
    });
  }
  await clock.sleep(waitMs);
  options.watcher?.paused(route.shard, refusal.state, waitMs);
}

/** A shard that this instance was not told of: it runs with an older SHARDS than the one that moved the bucket. */
function assertConfigured<T>(options: OwnerCallOptions<T>, route: Route): void {
  if (options.isConfigured(route.shard)) return;
  options.logger.log('error', 'database.shard_not_configured', {
    shardId: route.shard,
    bucketId: route.bucket,
  });
  throw RetryableError.shardUnavailable(route.shard, {
    details: { reason: 'shard is missing from SHARDS of this instance', bucketId: route.bucket },
  });
}

function logRefusal(logger: Logger, route: Route, refusal: Refusal, step: NextStep): void {
  // While a bucket moves every writer asks again and again.
  logger.log(step.kind === 'wait' ? 'debug' : 'info', 'database.refused', {
    shardId: route.shard,
    bucketId: route.bucket,
    mapVersion: route.mapVersion,
    state: refusal.state,
    movedTo: refusal.movedTo,
    step: step.kind,
  });
}
