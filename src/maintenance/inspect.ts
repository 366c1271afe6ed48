import type { Shard } from '../database/contracts.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import { readFigures } from './figures.ts';
import { COUNT_TABLES, READ_LARGEST, READ_NAMES } from './inspect-statements.ts';
import { keepFigures } from './kept.ts';
import type { Decision, Inspection } from './model.ts';
import { decide, policyOf } from './policy.ts';
import type { Policy } from './policy.ts';
import { readOr } from './read-or.ts';
import { REGISTERED_TABLES } from './registry.ts';

export type InspectServices = Pick<Services, 'database' | 'clock' | 'config'>;

export interface InspectOptions {
  /** Default: the policy of the settings. */
  readonly policy?: Policy;
  /** Only these tables; default: the registered ones and the largest others, up to MAINTENANCE_MAX_TABLES. */
  readonly tables?: readonly string[];
  /** As {@link decide}. */
  readonly force?: boolean;
  /** Writes the best fill seen to the shard, as every real run does; a dry run changes nothing. Default false. */
  readonly remember?: boolean;
}

/** For all statements of an inspection together. */
const DEADLINE_MS = 60_000;

/**
 * Figures of a shard's tables and the decision on each, most needed first. About ten statements whatever the number of
 * tables, each bounded; nothing is locked. Throws what `onShard` throws when the shard cannot be used.
 */
export async function inspectShard(
  services: InspectServices,
  shardId: ShardId,
  options: InspectOptions = {},
): Promise<Inspection> {
  const { clock, config, database } = services;
  const policy = options.policy ?? policyOf(config);
  return database.onShard(
    shardId,
    async (shard) => {
      const chosen = await chooseTables(shard, options.tables, config.MAINTENANCE_MAX_TABLES);
      const found = await readFigures(shard, chosen.names, policy);
      const nowMs = clock.nowMs();
      if (options.remember === true) {
        await keepFigures(shard, found.tables, { nowMs, rebuilt: false });
      }
      const force = options.force ?? false;
      const tables = found.tables
        .map((figures) => ({ figures, decision: decide(figures, policy, nowMs, { force }) }))
        .toSorted((left, right) => byNeed(left.decision, right.decision));
      return {
        shard: shardId,
        engine: found.engine,
        serverVersion: found.serverVersion,
        inspectedAtMs: nowMs,
        tables,
        tablesLeftOut: chosen.leftOut,
        notes: [...chosen.notes, ...found.notes].slice(0, 16),
      };
    },
    { deadlineMs: DEADLINE_MS },
  );
}

function byNeed(left: Decision, right: Decision): number {
  return right.need - left.need;
}

interface ChosenTables {
  readonly names: readonly string[];
  readonly leftOut: number;
  readonly notes: readonly string[];
}

async function chooseTables(
  shard: Shard,
  asked: readonly string[] | undefined,
  limit: number,
): Promise<ChosenTables> {
  if (asked !== undefined) return { names: asked.slice(0, limit), leftOut: 0, notes: [] };
  const notes: string[] = [];
  const largest = await readOr(shard, READ_LARGEST, [limit], async () => {
    notes.push('mysql.innodb_table_stats cannot be read: tables are taken by name, not by size');
    return await shard.query(READ_NAMES, [limit]);
  });
  const names = new Set([...REGISTERED_TABLES, ...largest.map((row) => String(row['t']))]);
  const chosen = [...names].slice(0, limit);
  const [total] = await shard.query(COUNT_TABLES, []);
  return { names: chosen, leftOut: Math.max(0, Number(total?.['n'] ?? 0) - chosen.length), notes };
}
