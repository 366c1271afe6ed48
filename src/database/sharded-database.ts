import type { Config } from '../config.ts';
import type { Clock } from '../kernel/clock.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Logger } from '../kernel/logger.ts';
import { noopTelemetry, type Telemetry } from '../kernel/telemetry.ts';
import { ATTRIBUTES, SPANS } from '../kernel/telemetry-names.ts';
import { routeBucket } from '../sharding/router.ts';
import type { Route } from '../sharding/router.ts';
import type { BucketMapSource } from '../storage/contracts.ts';
import type {
  Attempt,
  CallOptions,
  Session,
  Shard,
  ShardedDatabase,
  ShardStatus,
} from './contracts.ts';
import type { TokenSource } from './entra-tokens.ts';
import { guardedCall } from './guarded-call.ts';
import { mendBucket } from './mend-bucket.ts';
import { callOwner, type OwnerCallWatcher } from './owner-call.ts';
import { createShard, withSession } from './shard.ts';
import { inspectShard } from './shard-status.ts';
import { createShardUnit } from './shard-unit.ts';
import type { ShardUnit } from './shard-unit.ts';
import { READ_VERSION } from './statements.ts';

/** "Are you there?" must be answered this fast; longer than `SERVER_TO_BLAME_MS`, so that silence counts. */
const PROBE_LIMIT_MS = 1_500;
/** For a look at one shard, by health and operations. */
const INSPECT_LIMIT_MS = 2_000;
/** Prewarming has no caller whose deadline it could take. */
const PREWARM_LIMIT_MS = 30_000;
/** Time for connections in use to come back when the process ends. */
const CLOSE_GRACE_MS = 5_000;

export interface ShardedDatabaseOptions {
  readonly config: Config;
  readonly bucketMap: BucketMapSource;
  readonly clock: Clock;
  readonly logger: Logger;
  /** In [0, 1). */
  readonly random: () => number;
  /** Needed where a shard has `auth: "entra"`. */
  readonly tokens?: TokenSource;
  /** Default: none. */
  readonly telemetry?: Telemetry;
}

/** Creates the database over the shards of `SHARDS`. Does no I/O: connections and set-up come with the first use. */
export function createShardedDatabase(options: ShardedDatabaseOptions): ShardedDatabase {
  return new Database(options);
}

class Database implements ShardedDatabase {
  readonly #options: ShardedDatabaseOptions;
  readonly #units: readonly ShardUnit[];

  constructor(options: ShardedDatabaseOptions) {
    this.#options = options;
    this.#units = options.config.SHARDS.map((settings, index) =>
      createShardUnit(index as ShardId, settings, options),
    );
  }

  onOwner<T>(
    bucket: BucketId,
    attempt: (shard: Shard, route: Route) => Promise<Attempt<T>>,
    options: CallOptions,
  ): Promise<T> {
    const { telemetry = noopTelemetry } = this.#options;
    if (!telemetry.enabled) return this.#onOwner(bucket, attempt, options);
    const inherited = { [ATTRIBUTES.bucket]: bucket };
    return telemetry.span(SPANS.onOwner, { inherited }, async (span) => {
      const seen = { redirects: 0, waits: 0 };
      const watcher: OwnerCallWatcher = {
        redirected: (from) => {
          seen.redirects += 1;
          this.#units[from]?.telemetry?.redirected();
        },
        paused: (at, state, ms) => {
          seen.waits += 1;
          this.#units[at]?.telemetry?.pausedForOwner(state, ms);
        },
      };
      try {
        return await this.#onOwner(
          bucket,
          (shard, route) => {
            span.set(ATTRIBUTES.shard, shard.id);
            return attempt(shard, route);
          },
          options,
          watcher,
        );
      } finally {
        if (seen.redirects > 0) span.set(ATTRIBUTES.redirects, seen.redirects);
        if (seen.waits > 0) span.set(ATTRIBUTES.waits, seen.waits);
      }
    });
  }

  #onOwner<T>(
    bucket: BucketId,
    attempt: (shard: Shard, route: Route) => Promise<Attempt<T>>,
    options: CallOptions,
    watcher?: OwnerCallWatcher,
  ): Promise<T> {
    const { clock, random, logger } = this.#options;
    const deadlineAtMs = this.#deadlineIn(options.deadlineMs);
    return callOwner<T>({
      bucket,
      bucketMap: this.#options.bucketMap,
      isConfigured: (shard) => this.#units[shard] !== undefined,
      attempt: (route) =>
        this.#guarded(this.#unit(route.shard), deadlineAtMs, (shard) => attempt(shard, route)),
      mend: (at) =>
        mendBucket(
          at,
          (shard, run) => this.#guarded(this.#unit(shard), deadlineAtMs, run),
          () => clock.nowMs(),
        ),
      clock,
      random,
      logger,
      deadlineAtMs,
      watcher,
    });
  }

  async onShard<T>(
    shard: ShardId,
    run: (shard: Shard) => Promise<T>,
    options: CallOptions,
  ): Promise<T> {
    return this.#guarded(this.#unit(shard), this.#deadlineIn(options.deadlineMs), run);
  }

  async onSession<T>(
    shard: ShardId,
    use: (session: Session) => Promise<T>,
    options: CallOptions,
  ): Promise<T> {
    const unit = this.#unit(shard);
    const deadlineAtMs = this.#deadlineIn(options.deadlineMs);
    // Under the breaker and its retries; what follows is not to be repeated.
    await this.#guarded(unit, deadlineAtMs, () => Promise.resolve());
    return withSession(unit.contextUntil(deadlineAtMs), async (session) => {
      session.discard();
      return use(session);
    });
  }

  async route(bucket: BucketId): Promise<Route> {
    return routeBucket(await this.#options.bucketMap.current(), bucket);
  }

  shardIds(): readonly ShardId[] {
    return this.#units.map((unit) => unit.id);
  }

  async inspect(shard: ShardId): Promise<ShardStatus> {
    return inspectShard(this.#unit(shard), this.#deadlineIn(INSPECT_LIMIT_MS));
  }

  async prewarm(): Promise<void> {
    const { logger } = this.#options;
    await Promise.all(
      this.#units.map(async (unit) => {
        try {
          await this.#guarded(unit, this.#deadlineIn(PREWARM_LIMIT_MS), () => Promise.resolve());
        } catch (error) {
          const fields = { shardId: unit.id, ...errorFields(error) };
          logger.log('warn', 'database.prewarm_failed', fields);
        }
      }),
    );
  }

  async close(): Promise<void> {
    const pools = this.#units.flatMap((unit) => [unit.pools.single, unit.pools.batch]);
    await Promise.all(pools.map((pool) => pool.close(CLOSE_GRACE_MS)));
  }

  /** One call to one shard under its breaker, set up first, tried again while failures are transient. */
  #guarded<T>(
    unit: ShardUnit,
    deadlineAtMs: number,
    run: (shard: Shard) => Promise<T>,
  ): Promise<T> {
    const { clock, random, logger } = this.#options;
    const shard = createShard(unit.contextUntil(deadlineAtMs), unit.groups);
    const { telemetry } = unit;
    const onFailure = (failure: string): void => telemetry?.attemptFailed(failure);
    const call = (): Promise<T> =>
      guardedCall(
        { shardId: unit.id, breaker: unit.breaker, clock, random, logger, deadlineAtMs, onFailure },
        async () => {
          await unit.setup.ensure(deadlineAtMs);
          return run(shard);
        },
        async () => {
          const soon = unit.contextUntil(this.#deadlineIn(PROBE_LIMIT_MS));
          await createShard(soon, unit.groups).select(READ_VERSION, []);
        },
      );
    return telemetry === undefined ? call() : telemetry.call(call);
  }

  #unit(shard: ShardId): ShardUnit {
    const unit = this.#units[shard];
    if (unit !== undefined) return unit;
    throw new PermanentError('not-found', `There is no shard ${shard}.`);
  }

  #deadlineIn(ms: number): number {
    return this.#options.clock.monotonicMs() + ms;
  }
}
