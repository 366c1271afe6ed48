import { transfersPurger } from '../../src/orders/purge-transfers.ts';
import type { Purger } from '../../src/sagas/modules.ts';
import type { SagaId } from '../../src/sagas/saga-id.ts';
import { sweepSagas } from '../../src/sagas/sweep.ts';
import type { SweepReport } from '../../src/sagas/sweep-report.ts';
import { directoryPurger } from '../../src/users/purge-directory.ts';
import { HOUR_MS, NOW_MS, sqlTime } from './saga-operations.ts';
import { startSagaWorld, type SagaWorld } from './saga-world.ts';

/** Retention is a day in these tests. */
export const OLD_MS = NOW_MS - 25 * HOUR_MS;
export const RECENT_MS = NOW_MS - 23 * HOUR_MS;
/** Sagas’ own rows are kept a day longer than their ledger. */
export const VERY_OLD_MS = NOW_MS - 49 * HOUR_MS;

/** Of the slices; those of ledger and journal belong to every sweep. */
export const SLICE_PURGERS = [directoryPurger, transfersPurger] as const;

/** The purge of a sweep over real shards, four rows at once. */
export interface PurgeWorld extends SagaWorld {
  purge(): Promise<SweepReport>;
  /** Writes a step's row in a bucket of shard `bucket % 3`, done long ago unless told otherwise. */
  addStep(sagaId: SagaId, step: { bucket: number; atMs?: number; name?: string }): Promise<void>;
  /** Saga ids of the rows left in a table, sorted. */
  leftOf(table: string): Promise<readonly string[]>;
  stepsLeft(): Promise<readonly string[]>;
}

export async function startPurgeWorld(): Promise<PurgeWorld> {
  const own = await startSagaWorld({
    SAGA_RETENTION_HOURS: '24',
    SAGA_SWEEP_ROWS: '4',
    SAGA_STEP_DEADLINE_MS: '2000',
  });
  const { app } = own;
  const world: PurgeWorld = {
    ...own,
    purge: () => {
      const parts = {
        modules: app.modules,
        settlers: [],
        purgers: SLICE_PURGERS,
        nowMs: NOW_MS,
      };
      return sweepSagas(app.services, app.runtime.client, parts);
    },
    addStep: async (sagaId, { bucket, atMs = OLD_MS, name = 'act' }) => {
      const values = [bucket, sagaId, name, sqlTime(atMs)];
      const insert = "INSERT INTO saga_steps VALUES (?, ?, ?, 'done', NULL, ?)";
      await app.write(bucket % 3, insert, values);
    },
    leftOf: async (table) => {
      const left: string[] = [];
      for (const shard of [0, 1, 2]) {
        const rows = await app.rows(shard, `SELECT saga_id FROM ${table}`);
        left.push(...rows.map((row) => String(row['saga_id'])));
      }
      return left.toSorted();
    },
    stepsLeft: () => world.leftOf('saga_steps'),
  };
  return world;
}

/** Rows that a purger deleted on all shards. */
export function purgedBy(report: SweepReport, { name }: Purger): number {
  return report.shards.reduce((sum, { purged }) => sum + (purged[name] ?? 0), 0);
}
