import { mapBounded, within } from '../kernel/bounded.ts';
import { errorFields, type Logger } from '../kernel/logger.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import type { Dependency, Readiness } from './model.ts';

/** A dependency that has not answered by then is down. Above the shard inspection's own limit of 2 s. */
const ANSWER_LIMIT_MS = 2_500;
/** Dependencies asked at once. */
const CHECKS_AT_ONCE = 64;

interface Check {
  readonly kind: Dependency['kind'];
  readonly name: string;
  /** Resolves to the latency in milliseconds, or to undefined to have the time taken; throws when it is down. */
  readonly run: () => Promise<number | undefined>;
}

/** Asks every dependency at once, each for a limited time. Never throws; tells nothing but up or down. */
export async function checkReadiness(services: Services, logger: Logger): Promise<Readiness> {
  const dependencies = await mapBounded(checksOf(services), CHECKS_AT_ONCE, (check) =>
    ask(check, services, logger),
  );
  const isReady = dependencies.every((dependency) => dependency.state === 'up');
  return { status: isReady ? 'ready' : 'not-ready', dependencies };
}

function checksOf(services: Services): readonly Check[] {
  const { database, blobs, bucketMap, config } = services;
  return [
    {
      kind: 'storage',
      name: 'storage',
      run: async () => {
        await blobs.list('control', '', 1);
        return undefined;
      },
    },
    {
      kind: 'bucketMap',
      name: 'bucketMap',
      run: async () => {
        await bucketMap.current();
        return undefined;
      },
    },
    ...database.shardIds().map((id): Check => ({
      kind: 'shard',
      name: `shard:${config.SHARDS[id]?.name ?? id}`,
      run: () => shardLatency(services, id),
    })),
  ];
}

async function shardLatency({ database }: Services, id: ShardId): Promise<number> {
  const status = await database.inspect(id);
  if (status.reachable && status.problem === null && status.latencyMs !== null) {
    return status.latencyMs;
  }
  throw new Error(status.problem ?? 'not reachable');
}

async function ask(check: Check, services: Services, logger: Logger): Promise<Dependency> {
  const { kind, name } = check;
  const { clock } = services;
  const startedMs = clock.monotonicMs();
  try {
    const answer = await within(
      clock,
      { limitMs: ANSWER_LIMIT_MS, late: 'late' as const },
      check.run(),
    );
    if (answer !== 'late') {
      const latencyMs = answer ?? Math.round((clock.monotonicMs() - startedMs) * 100) / 100;
      return { kind, name, state: 'up', latencyMs };
    }
    logger.log('warn', 'operations.dependency_timed_out', { dependency: name });
  } catch (error) {
    logger.log('warn', 'operations.dependency_failed', { dependency: name, ...errorFields(error) });
  }
  return { kind, name, state: 'down', latencyMs: null };
}
