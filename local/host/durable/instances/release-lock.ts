import type { Engine, Wakes } from '../engine.ts';
import type { InstanceRow } from '../turn/turn.ts';

/** Gives up the entities an orchestration holds or has asked for. Call within a transaction. */
export function releaseLock(engine: Engine, wakes: Wakes, row: InstanceRow): void {
  if (row.lock === null) return;
  for (const entityId of row.lock.entityIds) {
    engine.entities.post(entityId, { kind: 'release', lockId: row.lock.id, parentId: row.id });
    wakes.entities.add(entityId);
  }
  row.lock = null;
}
