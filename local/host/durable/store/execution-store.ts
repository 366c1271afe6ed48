import type { DatabaseSync } from 'node:sqlite';
import { markPlayed } from '../turn/history-events.ts';
import type { RetryState } from '../turn/retry-policy.ts';
import type { InstanceRow, InstanceState, OpenTask, RecordedAction, Turn } from '../turn/turn.ts';
import { requiredNumber, requiredText } from './columns.ts';

/**
 * History, actions and open tasks of the current execution of each instance. Writes are increments:
 * a turn of a large fan-out writes what it adds, not what is there already.
 */
export interface ExecutionStore {
  load(row: InstanceRow): InstanceState;
  /** Writes a turn's increments. Call within the turn's transaction. */
  save(turn: Turn): void;
  /** Forgets history, actions, open tasks, activities and timers: the execution is over. */
  clear(instanceId: string): void;
  /** Drops activities and timers that nobody waits for any more. */
  clearPending(instanceId: string): void;
  /** Forgets the record of actions and open tasks, keeping the history. */
  clearRecord(instanceId: string): void;
  /** History rows in order. */
  history(instanceId: string): { readonly n: number; readonly json: string }[];
  removeHistory(instanceId: string, n: number): void;
  appendHistory(instanceId: string, n: number, json: string): void;
  openTask(instanceId: string, taskId: number, task: OpenTask): void;
  /** Ids of the tasks scheduled without retries. */
  plainTaskIds(instanceId: string): Set<number>;
}

/** Prepares the statements once; the database must outlive the store. */
export function createExecutionStore(db: DatabaseSync): ExecutionStore {
  const read = readStatements(db);
  const write = writeStatements(db);

  return {
    load: (row) => loadState(read, row),
    save: (turn) => saveTurn(write, turn),
    clear(instanceId) {
      write.clearHistory.run(instanceId);
      for (const statement of write.clearPending) statement.run(instanceId);
      for (const statement of write.clearRecord) statement.run(instanceId);
    },
    clearPending(instanceId) {
      for (const statement of write.clearPending) statement.run(instanceId);
    },
    clearRecord(instanceId) {
      for (const statement of write.clearRecord) statement.run(instanceId);
    },
    history: (instanceId) =>
      read.history
        .all(instanceId)
        .map((row) => ({ n: requiredNumber(row, 'n'), json: requiredText(row, 'json') })),
    removeHistory: (instanceId, n) => void write.removeEvent.run(instanceId, n),
    appendHistory: (instanceId, n, json) => void write.event.run(instanceId, n, json),
    openTask: (instanceId, taskId, task) => insertOpenTask(write, instanceId, taskId, task),
    plainTaskIds(instanceId) {
      const ids = new Set<number>();
      for (const row of read.actions.all(instanceId)) {
        const { taskId } = JSON.parse(requiredText(row, 'json')) as RecordedAction;
        if (taskId !== null) ids.add(taskId);
      }
      for (const row of read.retries.all(instanceId)) {
        ids.delete((JSON.parse(requiredText(row, 'json')) as RetryState).retryId);
      }
      return ids;
    },
  };
}

function readStatements(db: DatabaseSync) {
  return {
    history: db.prepare('SELECT n, json FROM history WHERE instance_id = ? ORDER BY n'),
    actions: db.prepare('SELECT json FROM actions WHERE instance_id = ? ORDER BY n'),
    open: db.prepare('SELECT task_id, kind, retry_id FROM open_tasks WHERE instance_id = ?'),
    retries: db.prepare('SELECT json FROM retries WHERE instance_id = ?'),
  };
}

function writeStatements(db: DatabaseSync) {
  const clear = (table: string) => db.prepare(`DELETE FROM ${table} WHERE instance_id = ?`);
  return {
    event: db.prepare('INSERT INTO history (instance_id, n, json) VALUES (?,?,?)'),
    removeEvent: db.prepare('DELETE FROM history WHERE instance_id = ? AND n = ?'),
    action: db.prepare('INSERT INTO actions (instance_id, n, json) VALUES (?,?,?)'),
    open: db.prepare(
      'INSERT INTO open_tasks (instance_id, task_id, kind, retry_id) VALUES (?,?,?,?)',
    ),
    close: db.prepare('DELETE FROM open_tasks WHERE instance_id = ? AND task_id = ?'),
    retry: db.prepare(
      'INSERT OR REPLACE INTO retries (instance_id, retry_id, json) VALUES (?,?,?)',
    ),
    clearHistory: clear('history'),
    clearPending: ['activities', 'timers'].map(clear),
    clearRecord: ['actions', 'open_tasks', 'retries'].map(clear),
  };
}

function loadState(read: ReturnType<typeof readStatements>, row: InstanceRow): InstanceState {
  const rows = read.history.all(row.id);
  const last = rows.at(-1);
  return {
    row,
    history: rows.map((entry) => markPlayed(requiredText(entry, 'json'))),
    nextEvent: last === undefined ? 0 : requiredNumber(last, 'n') + 1,
    actions: read.actions
      .all(row.id)
      .map((entry) => JSON.parse(requiredText(entry, 'json')) as RecordedAction),
    open: loadOpenTasks(read, row.id),
  };
}

function saveTurn(write: ReturnType<typeof writeStatements>, { state, changes }: Turn): void {
  const { id } = state.row;
  for (const json of changes.events) write.event.run(id, state.nextEvent++, markPlayed(json));
  let n = state.actions.length - changes.newActions.length;
  for (const action of changes.newActions) write.action.run(id, n++, JSON.stringify(action));
  for (const taskId of changes.closed) write.close.run(id, taskId);
  for (const taskId of changes.opened) {
    const task = state.open.get(taskId);
    if (task !== undefined) insertOpenTask(write, id, taskId, task);
  }
  for (const retry of changes.retries) write.retry.run(id, retry.retryId, JSON.stringify(retry));
}

function insertOpenTask(
  write: ReturnType<typeof writeStatements>,
  instanceId: string,
  taskId: number,
  task: OpenTask,
): void {
  write.open.run(instanceId, taskId, task.kind, task.retry?.retryId ?? null);
}

function loadOpenTasks(
  read: ReturnType<typeof readStatements>,
  instanceId: string,
): Map<number, OpenTask> {
  const retries = new Map<number, RetryState>();
  for (const row of read.retries.all(instanceId)) {
    const retry = JSON.parse(requiredText(row, 'json')) as RetryState;
    retries.set(retry.retryId, retry);
  }
  const open = new Map<number, OpenTask>();
  for (const row of read.open.all(instanceId)) {
    const retryId = row['retry_id'];
    open.set(requiredNumber(row, 'task_id'), {
      kind: requiredText(row, 'kind') as OpenTask['kind'],
      retry: typeof retryId === 'number' ? (retries.get(retryId) ?? null) : null,
    });
  }
  return open;
}
