import type { ShardSettings } from '../../src/config.ts';
import type { TokenSource } from '../../src/database/entra-tokens.ts';
import type { Migration } from '../../src/database/migration-files.ts';
import { migrate, readMigrationPlan } from '../../src/database/migrations.ts';
import type { Session } from '../../src/database/contracts.ts';
import { withSession } from '../../src/database/shard.ts';
import { createShardPools } from '../../src/database/shard-pools.ts';
import { mapBounded } from '../../src/kernel/bounded.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { isRetryable } from '../../src/kernel/errors.ts';
import type { ShardId } from '../../src/kernel/ids.ts';
import type { Logger } from '../../src/kernel/logger.ts';

/** Shards looked at or migrated at once: each is one connection, and a schema change loads its server. */
export const DEFAULT_CONCURRENCY = 4;
const CONNECT_LIMIT_MS = 10_000;
const STATEMENT_LIMIT_MS = 60_000;

export type ShardSchema = { readonly shard: string } & (
  | { readonly state: 'current' }
  | { readonly state: 'pending'; readonly migrations: readonly string[] }
  | { readonly state: 'applied'; readonly migrations: readonly string[] }
  /** Somebody must settle it: nothing was changed on any shard. */
  | { readonly state: 'clash'; readonly problem: string }
  /** The server refuses the sign-in or a statement: somebody must act before a repeat helps. */
  | { readonly state: 'refused'; readonly problem: string }
  /** Running the command again goes on from here. */
  | { readonly state: 'failed'; readonly problem: string }
);

export interface SchemaOptions {
  readonly shards: readonly ShardSettings[];
  readonly files: readonly Migration[];
  readonly concurrency: number;
  readonly dryRun: boolean;
  readonly tokens?: TokenSource;
  readonly logger: Logger;
  /** After each shard that was brought up to date. */
  readonly onShard?: (done: number, of: number) => void;
}

/**
 * Brings the schema of all shards up to this build: looks at all of them first and changes nothing while one clashes or
 * does not answer. A shard that fails does not stop the others; a repeat goes on where this one ended. Never throws for
 * what one shard does.
 */
export async function deliverSchema(options: SchemaOptions): Promise<readonly ShardSchema[]> {
  const looks = await onEachShard(options, (session, shard) => look(session, shard, options.files));
  const isBlocked = looks.some((shard) => 'problem' in shard);
  if (isBlocked || options.dryRun) return looks;
  let done = 0;
  return onEachShard(options, async (session, shard, id) => {
    const before = looks[id];
    if (before?.state === 'pending') await apply(session, shard, id, options);
    done += 1;
    options.onShard?.(done, options.shards.length);
    return before?.state === 'pending'
      ? { shard: shard.name, state: 'applied', migrations: before.migrations }
      : { shard: shard.name, state: 'current' };
  });
}

/** 0 all is well, 1 a shard failed and a repeat may help, 2 somebody must act first. */
export function exitCodeOf(shards: readonly ShardSchema[]): number {
  if (shards.some(({ state }) => state === 'clash' || state === 'refused')) return 2;
  return shards.some(({ state }) => state === 'failed') ? 1 : 0;
}

/** One line for each shard. */
export function describeSchemas(shards: readonly ShardSchema[]): string {
  return shards
    .map((shard) => {
      const head = `${shard.shard}: ${shard.state}`;
      if (shard.state === 'current') return head;
      return 'problem' in shard
        ? `${head}: ${shard.problem}`
        : `${head}: ${shard.migrations.join(', ')}`;
    })
    .join('\n');
}

async function look(
  session: Session,
  shard: ShardSettings,
  files: readonly Migration[],
): Promise<ShardSchema> {
  const plan = await readMigrationPlan(session, files);
  if (plan.kind === 'clash') return { shard: shard.name, state: 'clash', problem: plan.problem };
  if (plan.migrations.length === 0) return { shard: shard.name, state: 'current' };
  return {
    shard: shard.name,
    state: 'pending',
    migrations: plan.migrations.map((migration) => migration.name),
  };
}

function apply(
  session: Session,
  shard: ShardSettings,
  id: number,
  { files, logger }: SchemaOptions,
): Promise<void> {
  return migrate(session, {
    shardId: id,
    shardName: shard.name,
    database: shard.database,
    files,
    apply: true,
    clock: systemClock,
    logger,
  });
}

/** Runs on one connection to each shard, a bounded number at once; what one shard throws becomes its result. */
export function onEachShard(
  options: Pick<SchemaOptions, 'shards' | 'concurrency' | 'tokens'>,
  run: (session: Session, shard: ShardSettings, id: number) => Promise<ShardSchema>,
): Promise<ShardSchema[]> {
  const targets = options.shards.map((shard, id) => ({ shard, id }));
  return mapBounded(targets, options.concurrency, async ({ shard, id }): Promise<ShardSchema> => {
    const pools = createShardPools(id, shard, POOLS, options.tokens);
    const context = {
      id: id as ShardId,
      name: shard.name,
      pools,
      acquireTimeoutMs: 2 * CONNECT_LIMIT_MS,
      statementTimeoutMs: STATEMENT_LIMIT_MS,
      remainingMs: () => Number.MAX_SAFE_INTEGER,
    };
    try {
      return await withSession(context, (session) => run(session, shard, id));
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      const cause =
        error instanceof Error && error.cause instanceof Error ? error.cause.message : '';
      const state = isRetryable(error) ? 'failed' : 'refused';
      return { shard: shard.name, state, problem: `${problem} ${cause}`.trim() };
    } finally {
      await Promise.all([pools.single.close(1_000), pools.batch.close(1_000)]);
    }
  });
}

/** One connection for each shard is all that is opened. */
const POOLS = {
  SHARD_POOL_SIZE: 1,
  SHARD_BATCH_POOL_SIZE: 1,
  SHARD_POOL_QUEUE: 1,
  SHARD_CONNECT_TIMEOUT_MS: CONNECT_LIMIT_MS,
  SHARD_STATEMENT_TIMEOUT_MS: STATEMENT_LIMIT_MS,
  MAX_INSTANCES: 1,
  SCALING_GROUPS: 1,
  EXTRA_INSTANCES: 0,
  CONNECTION_SHARE_PERCENT: 100,
};
