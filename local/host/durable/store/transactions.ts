import type { DatabaseSync } from 'node:sqlite';
import type { Engine, Wakes } from '../engine.ts';
import type { DurableProbe } from '../probe.ts';

/** One change waiting for the next group commit. */
interface Waiting {
  /** Applies the change; keeps its result or its error for later. */
  apply(wakes: Wakes): void;
  /** Tells the requester, after the COMMIT (`null`) or after its failure. */
  settle(commitError: unknown): void;
}

/** The two ways to change the store. */
export type Transactions = Pick<Engine, 'commit' | 'commitSoon'> & {
  /** Commits what waits, at once. */
  flush(): void;
};

/**
 * Creates the engine's transactions: all effects of a change are in one SQLite transaction, and what
 * it created is dispatched after the COMMIT. A body that throws leaves the store unchanged and
 * dispatches nothing, also when it shares a COMMIT with others.
 */
export function createTransactions(
  db: DatabaseSync,
  probe: DurableProbe,
  dispatch: (wakes: Wakes) => void,
): Transactions {
  const commit = createCommit(db, probe, dispatch);
  const applyAlone = createNestedChange(db);
  let waiting: Waiting[] = [];

  function flush(): void {
    const group = waiting;
    waiting = [];
    if (group.length === 0) return;
    let commitError: unknown = null;
    try {
      commit((wakes) => {
        for (const change of group) change.apply(wakes);
      });
    } catch (error) {
      commitError = error ?? new Error('the commit failed');
    }
    for (const change of group) change.settle(commitError);
  }

  return {
    commit,
    flush,
    commitSoon: (body) =>
      new Promise((resolve, reject) => {
        let settle: () => void = () => undefined;
        waiting.push({
          apply(wakes) {
            try {
              const result = applyAlone(body, wakes);
              settle = () => resolve(result);
            } catch (error) {
              settle = () => reject(error);
            }
          },
          settle: (commitError) => (commitError === null ? settle() : reject(commitError)),
        });
        if (waiting.length === 1) setImmediate(flush);
      }),
  };
}

/** One change in one transaction of its own. */
function createCommit(
  db: DatabaseSync,
  probe: DurableProbe,
  dispatch: (wakes: Wakes) => void,
): Engine['commit'] {
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');
  return (body) => {
    const wakes = noWakes();
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

/** One change among others of a transaction: undone alone when its body throws. */
function createNestedChange(db: DatabaseSync) {
  const savepoint = db.prepare('SAVEPOINT change');
  const undo = db.prepare('ROLLBACK TO change');
  const release = db.prepare('RELEASE change');
  return <T>(body: (wakes: Wakes) => T, wakes: Wakes): T => {
    const own = noWakes();
    savepoint.run();
    try {
      const result = body(own);
      release.run();
      merge(wakes, own);
      return result;
    } catch (error) {
      undo.run();
      release.run();
      throw error;
    }
  };
}

function noWakes(): Wakes {
  return { instances: new Set(), entities: new Set(), activities: [], timersAtMs: [] };
}

function merge(into: Wakes, from: Wakes): void {
  for (const id of from.instances) into.instances.add(id);
  for (const id of from.entities) into.entities.add(id);
  into.activities.push(...from.activities);
  into.timersAtMs.push(...from.timersAtMs);
}
