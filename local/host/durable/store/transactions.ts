import type { DatabaseSync } from 'node:sqlite';
import type { Engine, Wakes } from '../engine.ts';
import type { DurableProbe } from '../probe.ts';

/**
 * Creates the engine's `commit`: one SQLite transaction, then the dispatch of what it created.
 * A body that throws leaves the store unchanged and dispatches nothing.
 */
export function createCommit(
  db: DatabaseSync,
  probe: DurableProbe,
  dispatch: (wakes: Wakes) => void,
): Engine['commit'] {
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');
  return (body) => {
    const wakes: Wakes = {
      instances: new Set(),
      entities: new Set(),
      activities: [],
      timersAtMs: [],
    };
    begin.run();
    let result;
    try {
      result = body(wakes);
      probe.reach('commit.before');
      commit.run();
    } catch (error) {
      if (db.isTransaction) rollback.run();
      throw error;
    }
    probe.reach('commit.after');
    dispatch(wakes);
    return result;
  };
}
