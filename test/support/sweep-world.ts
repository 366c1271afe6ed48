import type { RuntimeState } from '../../src/durable/client.ts';
import type { SagaId } from '../../src/sagas/saga-id.ts';
import { sweepSagas, type SweepParts } from '../../src/sagas/sweep.ts';
import type { SweepReport } from '../../src/sagas/sweep-report.ts';
import { KINDS, MINUTE_MS, NOW_MS, sagaOn, type SagaRow } from './saga-operations.ts';
import { startSagaWorld, type SagaWorld } from './saga-world.ts';

/** So old are the sagas that {@link SweepWorld.stale} writes down: six minutes. */
export const STALE_SINCE_MS = NOW_MS - 6 * MINUTE_MS;

/** A sweep over real shards and a fake runtime; a saga is stale after five minutes, and five rows are read at once. */
export interface SweepWorld extends SagaWorld {
  sweep(parts?: Partial<SweepParts>): Promise<SweepReport>;
  /** An unfinished saga that nobody has touched for six minutes, its orchestration in a state. */
  stale(state: RuntimeState | 'absent', row?: Partial<SagaRow>): Promise<SagaId>;
  /** Ids of the sagas started again, sorted. */
  started(): readonly string[];
}

export async function startSweepWorld(): Promise<SweepWorld> {
  const own = await startSagaWorld({
    SAGA_STALE_MS: String(5 * MINUTE_MS),
    SAGA_SWEEP_ROWS: '5',
    SAGA_STEP_DEADLINE_MS: '2000',
  });
  const { app } = own;
  return {
    ...own,
    sweep: (parts = {}) => {
      const all = { modules: app.modules, settlers: [], purgers: [], ...parts, nowMs: NOW_MS };
      return sweepSagas(app.services, app.runtime.client, all);
    },
    stale: async (state, row = {}) => {
      const sagaId = row.sagaId ?? sagaOn(0);
      const kind = row.kind ?? KINDS[0];
      await app.addSaga({ createdMs: STALE_SINCE_MS, ...row, sagaId });
      if (state !== 'absent') app.runtime.instances.set(sagaId, { name: `saga-${kind}`, state });
      return sagaId;
    },
    started: () => app.runtime.started.map(({ instanceId }) => instanceId).toSorted(),
  };
}
