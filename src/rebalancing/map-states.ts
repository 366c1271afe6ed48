import { RetryableError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import type { BucketMap, ShardEntry } from '../sharding/bucket-map.ts';
import type { RunState, StoredPlan } from './run-model.ts';

type MapServices = Pick<Services, 'bucketMapStore' | 'bucketMap' | 'clock'>;

/** Others change the map for milliseconds; more rounds mean that something is wrong with it. */
const ROUNDS = 50;
const BETWEEN_ROUNDS_MS = 50;

/** Notes in the map what a run is going to do: moves under way, and shards being drained. Idempotent. */
export async function noteRunBegins(services: MapServices, stored: StoredPlan): Promise<void> {
  await changeMap(services, (map) => runBegins(map, stored));
}

/** Takes the notes of a run back and says which shards are drained. Idempotent. */
export async function noteRunEnds(services: MapServices, state: RunState): Promise<void> {
  await changeMap(services, (map) => runEnds(map, state));
}

async function changeMap(
  services: MapServices,
  change: (map: BucketMap) => BucketMap,
): Promise<void> {
  const { bucketMapStore, bucketMap, clock } = services;
  for (let round = 1; round <= ROUNDS; round += 1) {
    const live = await bucketMapStore.load();
    const changed = change(live.map);
    if (changed === live.map) return;
    const updatedAt = new Date(clock.nowMs()).toISOString();
    const next = { ...changed, version: live.map.version + 1, updatedAt };
    if ((await bucketMapStore.replace(live, next)) !== undefined) {
      await bucketMap.refresh();
      return;
    }
    await clock.sleep(BETWEEN_ROUNDS_MS);
  }
  throw new RetryableError('conflict', 'The bucket map is being changed by others all the time.');
}

/** The map itself when it says so already. Pure; the version is the caller's. */
export function runBegins(map: BucketMap, { goal, plan }: StoredPlan): BucketMap {
  const sources = new Set(plan.moves.map((move) => move.from));
  const targets = new Set(plan.moves.map((move) => move.to));
  const owners = new Set(map.assignment);
  const leaving = new Set<ShardId>(goal.drain);
  if (Array.isArray(goal.targetShards)) {
    for (const shard of sources) if (!goal.targetShards.includes(shard)) leaving.add(shard);
  } else if (goal.targetShards !== undefined) {
    for (const shard of sources) if (shard >= goal.targetShards) leaving.add(shard);
  }
  const moves = plan.moves
    .filter((move) => map.assignment[move.bucket] === move.from)
    .map(({ bucket, from, to }) => ({ bucket, from, to }));
  const stateOf = (shard: ShardEntry): ShardEntry['state'] => {
    const id = shard.id as ShardId;
    if (leaving.has(id)) return shard.state === 'drained' ? 'drained' : 'draining';
    if (!targets.has(id) || shard.state === 'active') return shard.state;
    // One that was drained, or new, is active with its first bucket.
    return owners.has(shard.id) ? 'active' : 'new';
  };
  return withChanges(map, stateOf, moves);
}

/** The map itself when it says so already. Pure; the version is the caller's. */
export function runEnds(map: BucketMap, state: RunState): BucketMap {
  const own = new Set(state.moves.map(({ bucket, to }) => `${bucket}:${to}`));
  const moves = map.moves.filter(({ bucket, to }) => !own.has(`${bucket}:${to}`));
  const owners = new Set(map.assignment);
  const stateOf = (shard: ShardEntry): ShardEntry['state'] => {
    if (shard.state !== 'draining') return shard.state;
    if (!owners.has(shard.id)) return 'drained';
    return state.status === 'completed' ? 'draining' : 'active';
  };
  return withChanges(map, stateOf, moves);
}

function withChanges(
  map: BucketMap,
  stateOf: (shard: ShardEntry) => ShardEntry['state'],
  moves: BucketMap['moves'],
): BucketMap {
  const shards = map.shards.map((shard) => ({ ...shard, state: stateOf(shard) }));
  const isSame = JSON.stringify([shards, moves]) === JSON.stringify([map.shards, map.moves]);
  return isSame ? map : { ...map, shards, moves };
}
