import type { Shard, ShardStatus, SqlRow } from '../database/contracts.ts';
import { mapBounded } from '../kernel/bounded.ts';
import type { FieldProblem } from '../kernel/errors.ts';
import type { BucketId, ShardId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Services } from '../services.ts';
import type { Plan, Preflight } from './run-model.ts';
import { bucketsWithRows, READ_ALL_OWNERSHIP, READ_WRITABLE } from './size-statements.ts';

type PreflightServices = Pick<Services, 'database' | 'logger'>;

const SHARDS_AT_ONCE = 8;
const DEADLINE_MS = 8_000;

/**
 * Looks at everything that would make a move of the plan fail, on all its shards, before the first one is begun. Reads
 * only, but for the set-up that every first use of a shard does. All problems at once; never throws because of a shard.
 */
export async function runPreflight(services: PreflightServices, plan: Plan): Promise<Preflight> {
  const sources = [...new Set(plan.moves.map((move) => move.from))].toSorted((a, b) => a - b);
  const targets = [...new Set(plan.moves.map((move) => move.to))].toSorted((a, b) => a - b);
  const configured = new Set(services.database.shardIds());
  const looks = await mapBounded([...sources, ...targets], SHARDS_AT_ONCE, async (shard) => {
    if (!configured.has(shard)) {
      return report([{ path: `/shards/${shard}`, message: 'is missing from SHARDS' }]);
    }
    const status = await services.database.inspect(shard);
    const found = problemsOf(status);
    if (found.length > 0 || !targets.includes(shard)) return report(found);
    return await lookAtTarget(services, shard, plan);
  });
  return {
    // A shard may be source and target of a plan.
    problems: uniqueBy(looks.flatMap((look) => look.problems)),
    notes: [...new Set(looks.flatMap((look) => look.notes))],
  };
}

const report = (problems: FieldProblem[], notes: string[] = []): Preflight => ({ problems, notes });

/** Server version, connection budget, schema and identity are looked at by the set-up; its message says which. Pure. */
export function problemsOf(status: ShardStatus): FieldProblem[] {
  const path = `/shards/${status.id}`;
  if (!status.reachable) {
    const why = status.problem === null ? '' : `: ${status.problem}`;
    return [{ path, message: `"${status.name}" does not answer${why}` }];
  }
  return status.problem === null ? [] : [{ path, message: status.problem }];
}

async function lookAtTarget(
  services: PreflightServices,
  shardId: ShardId,
  plan: Plan,
): Promise<Preflight> {
  const moves = plan.moves.filter((move) => move.to === shardId);
  const buckets = moves.map((move) => move.bucket);
  const bytes = moves.reduce((sum, move) => sum + move.estimatedBytes, 0);
  const disk = `How much room is left on the disk of shard ${shardId} cannot be read over SQL; about ${(bytes / 1e6).toFixed(1)} MB will be copied there.`;
  try {
    const found = await services.database.onShard(shardId, (shard) => readTarget(shard, buckets), {
      deadlineMs: DEADLINE_MS,
    });
    const standing = judgeTarget(shardId, buckets, found);
    return report([...standing.problems], [...standing.notes, disk]);
  } catch (error) {
    services.logger.log('warn', 'rebalancing.preflight_failed', { shardId, ...errorFields(error) });
    const message = 'did not answer a question of the preflight; try again';
    return report([{ path: `/shards/${shardId}`, message }]);
  }
}

/** What a target says of itself and of the buckets that are to come. */
export interface TargetFacts {
  readonly isWritable: boolean;
  readonly ownership: readonly SqlRow[];
  readonly withRows: ReadonlySet<number>;
}

async function readTarget(shard: Shard, buckets: readonly BucketId[]): Promise<TargetFacts> {
  const [server] = await shard.query(READ_WRITABLE, []);
  const rows = await shard.query(bucketsWithRows(buckets), []);
  return {
    isWritable: Number(server?.['read_only']) === 0 && Number(server?.['innodb_read_only']) === 0,
    ownership: await shard.query(READ_ALL_OWNERSHIP, []),
    withRows: new Set(rows.map((row) => Number(row['bucket']))),
  };
}

/** Buckets named in one message. */
const NAMED = 10;

/** Pure. */
export function judgeTarget(
  shardId: ShardId,
  buckets: readonly BucketId[],
  facts: TargetFacts,
): Preflight {
  const states = new Map(
    facts.ownership.map((row) => [Number(row['bucket']), String(row['state'])]),
  );
  const inState = (...wanted: string[]): BucketId[] =>
    buckets.filter((bucket) => wanted.includes(states.get(bucket) ?? 'absent'));
  const path = `/shards/${shardId}`;
  const problems: FieldProblem[] = [];
  const notes: string[] = [];
  if (!facts.isWritable) problems.push({ path, message: 'takes no writes (read_only)' });
  const owned = inState('owned', 'fenced');
  if (owned.length > 0) {
    const message = `owns ${named(owned)} already, which the bucket map gives to another shard; run the verification`;
    problems.push({ path, message });
  }
  const stray = inState('absent').filter((bucket) => facts.withRows.has(bucket));
  if (stray.length > 0) {
    const message = `has rows of ${named(stray)}, of which it never was told; look at them and delete them by hand`;
    problems.push({ path, message });
  }
  const begun = inState('receiving');
  if (begun.length > 0) {
    notes.push(`Shard ${shardId} has begun copies of ${named(begun)}; they are removed first.`);
  }
  const old = inState('gone').filter((bucket) => facts.withRows.has(bucket));
  if (old.length > 0) {
    notes.push(`Shard ${shardId} has old copies of ${named(old)}; they are purged first.`);
  }
  return { problems, notes };
}

function named(buckets: readonly BucketId[]): string {
  const some = buckets.slice(0, NAMED).join(', ');
  const rest = buckets.length - NAMED;
  const list = rest > 0 ? `${some} and ${rest} more` : some;
  return buckets.length === 1 ? `bucket ${list}` : `buckets ${list}`;
}

function uniqueBy(problems: readonly FieldProblem[]): FieldProblem[] {
  return [...new Map(problems.map((problem) => [JSON.stringify(problem), problem])).values()];
}
