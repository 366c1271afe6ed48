import { AppError } from '../kernel/errors.ts';
import { SHARDED_TABLES } from '../sharding/sharded-tables.ts';
import type { Shard, ShardStatus } from './contracts.ts';
import { DatabaseError } from './database-error.ts';
import { createShard } from './shard.ts';
import type { ShardUnit } from './shard-unit.ts';
import { READ_VERSION, readEstimatedRows } from './statements.ts';

/**
 * Looks at one shard, past its circuit breaker, so that health sees a server come back before callers do. Takes at most
 * `deadlineAtMs` (monotonic milliseconds). Never throws.
 */
export async function inspectShard(unit: ShardUnit, deadlineAtMs: number): Promise<ShardStatus> {
  const context = unit.contextUntil(deadlineAtMs);
  const look = await lookAt(createShard(context, unit.groups), async () => {
    await unit.setup.ensure(deadlineAtMs);
  });
  return {
    id: unit.id,
    name: unit.settings.name,
    circuit: unit.breaker.state(),
    pool: unit.pools.single.use(),
    batchPool: unit.pools.batch.use(),
    ...look,
  };
}

type Look = Pick<
  ShardStatus,
  'reachable' | 'latencyMs' | 'serverVersion' | 'estimatedRows' | 'problem'
>;

async function lookAt(shard: Shard, ensure: () => Promise<void>): Promise<Look> {
  let found: Look = {
    reachable: false,
    latencyMs: null,
    serverVersion: null,
    estimatedRows: {},
    problem: null,
  };
  try {
    // Opens a connection if there is none, so that the next statement measures the server alone.
    const [row] = await shard.select(READ_VERSION, []);
    found = { ...found, reachable: true, serverVersion: String(row?.['version']) };
    const startedAt = performance.now();
    await shard.select(READ_VERSION, []);
    found = { ...found, latencyMs: Math.round((performance.now() - startedAt) * 100) / 100 };
    await ensure();
    return { ...found, estimatedRows: await estimateRows(shard) };
  } catch (error) {
    return { ...found, problem: problemOf(error) };
  }
}

async function estimateRows(shard: Shard): Promise<Readonly<Record<string, number>>> {
  const names = SHARDED_TABLES.map((table) => table.name);
  const rows = await shard.query(readEstimatedRows(names.length), names);
  return Object.fromEntries(rows.map((row) => [String(row['name']), Number(row['estimate'])]));
}

/** Our own messages hold no host names; the driver's do and stay in the log. */
function problemOf(error: unknown): string {
  if (error instanceof DatabaseError) return `${error.failure}: ${error.message}`;
  if (error instanceof AppError) {
    const reason = error.details['reason'];
    return typeof reason === 'string' ? reason : error.message;
  }
  return 'unexpected failure';
}
