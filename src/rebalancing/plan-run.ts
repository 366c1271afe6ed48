import { PermanentError } from '../kernel/errors.ts';
import type { FieldProblem } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import type { BucketMap } from '../sharding/bucket-map.ts';
import { planRebalance } from '../sharding/rebalance-plan.ts';
import { readBucketSizes } from './bucket-sizes.ts';
import type { Goal, Plan, StoredPlan } from './run-model.ts';
import { createRunStore } from './run-store.ts';

export type PlanServices = Pick<Services, 'bucketMap' | 'database' | 'logger' | 'control'>;

/**
 * Today's plan for a goal, by the stored map and the sizes of the buckets. Reads only. Throws `validation-failed` for a
 * goal that names no shard, or one that is not there.
 */
export async function makePlan(services: PlanServices, goal: Goal): Promise<Plan> {
  const map = await services.bucketMap.refresh();
  const weights = targetWeights(map, services.database.shardIds(), goal);
  const owners = [...new Set(map.assignment)] as ShardId[];
  const sizes = await readBucketSizes(services, map, owners);
  const { moves, planHash, mapVersion } = planRebalance(map, {
    weights,
    sizes: new Map([...sizes].map(([bucket, { rows }]) => [bucket, rows])),
    ...(goal.maxBuckets !== undefined && { maxBuckets: goal.maxBuckets }),
  });
  const planned = moves.map((move) => {
    const size = sizes.get(move.bucket);
    return { ...move, estimatedRows: size?.rows ?? 0, estimatedBytes: size?.bytes ?? 0 };
  });
  const totals = {
    buckets: planned.length,
    rows: planned.reduce((sum, move) => sum + move.estimatedRows, 0),
    bytes: planned.reduce((sum, move) => sum + move.estimatedBytes, 0),
  };
  return { planHash, mapVersion, moves: planned, totals };
}

/**
 * The plan to carry out: the one that was approved, as it was shown, if the map has not changed since; without approval
 * today's. Sizes change all the time and choose among the buckets, which is why an approved plan is stored and not made
 * again. Throws `conflict` when the approved plan is not for this goal and today's map.
 */
export async function settlePlan(
  services: PlanServices,
  goal: Goal,
  approvedHash: string | undefined,
): Promise<StoredPlan> {
  if (approvedHash === undefined) return { goal, plan: await makePlan(services, goal) };
  const shown = await createRunStore(services).readPlan(approvedHash);
  const { version } = await services.bucketMap.refresh();
  if (shown === undefined) {
    throw outdated('No plan with this hash was shown.');
  }
  if (shown.plan.mapVersion !== version) {
    throw outdated(
      `The approved plan was made for version ${shown.plan.mapVersion} of the bucket map, which is at version ${version} by now.`,
    );
  }
  if (describeGoal(shown.goal) !== describeGoal(goal)) {
    throw outdated('The approved plan was made for another request.');
  }
  return shown;
}

function outdated(reason: string): PermanentError {
  return new PermanentError(
    'conflict',
    `${reason} Ask for the plan again (dryRun; from the terminal: npm run ops -- rebalance --dry-run).`,
  );
}

/** Equal for requests that mean the same. */
function describeGoal({ targetShards: targets, drain, maxBuckets, weights }: Goal): string {
  const sorted = (shards: readonly number[]): number[] => shards.toSorted((a, b) => a - b);
  return JSON.stringify([
    Array.isArray(targets) ? sorted(targets) : (targets ?? null),
    sorted(drain ?? []),
    maxBuckets ?? null,
    Object.entries(weights ?? {})
      .filter(([, weight]) => weight !== 1)
      .toSorted(([a], [b]) => Number(a) - Number(b)),
  ]);
}

/**
 * The shards that share the buckets afterwards, ascending, and their shares relative to each other. Without a word about
 * them those that are being drained, or were, get nothing. Pure. Throws `validation-failed` with all that is wrong.
 */
export function targetWeights(
  map: BucketMap,
  configured: readonly ShardId[],
  goal: Goal,
): ReadonlyMap<ShardId, number> {
  const problems: FieldProblem[] = [];
  const targets = targetShards(map, configured, goal, problems);
  for (const shard of Object.keys(goal.weights ?? {})) {
    if (targets.includes(Number(shard) as ShardId)) continue;
    problems.push({ path: `/weights/${shard}`, message: 'is none of the shards that get buckets' });
  }
  if (problems.length === 0 && targets.length === 0) {
    problems.push({ path: '', message: 'no shard is left that could own the buckets' });
  }
  if (problems.length > 0) {
    throw PermanentError.validation('The request is not valid.', problems);
  }
  return new Map(
    targets.toSorted((a, b) => a - b).map((shard) => [shard, goal.weights?.[shard] ?? 1]),
  );
}

function targetShards(
  map: BucketMap,
  configured: readonly ShardId[],
  { targetShards: wanted, drain = [] }: Goal,
  problems: FieldProblem[],
): readonly ShardId[] {
  const known = new Set(configured);
  const check = (path: string, shard: ShardId): void => {
    if (known.has(shard)) return;
    problems.push({ path, message: `is no shard: they are 0 to ${configured.length - 1}` });
  };
  const drained = new Set(drain);
  drain.forEach((shard, index) => check(`/drain/${index}`, shard));
  if (Array.isArray(wanted)) {
    wanted.forEach((shard, index) => {
      check(`/targetShards/${index}`, shard);
      if (drained.has(shard)) {
        problems.push({ path: `/targetShards/${index}`, message: 'is listed in drain as well' });
      }
    });
    return [...new Set(wanted)];
  }
  if (wanted !== undefined) {
    if (wanted > configured.length) {
      const message = `is more than SHARDS has: ${configured.length}`;
      problems.push({ path: '/targetShards', message });
    }
    return configured.slice(0, wanted).filter((shard) => !drained.has(shard));
  }
  const leaving = new Set(
    map.shards
      .filter(({ state }) => state === 'draining' || state === 'drained')
      .map(({ id }) => id),
  );
  return configured.filter((shard) => !drained.has(shard) && !leaving.has(shard));
}
