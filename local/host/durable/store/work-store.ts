import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import type { IncomingEvent } from '../turn/history-events.ts';
import type { InboxKind, InboxMessage, NewActivity } from '../turn/turn.ts';
import { requiredNumber, requiredText, textOrNull } from './columns.ts';

/** An activity that has been scheduled and not yet answered. */
export interface PendingActivity extends NewActivity {
  readonly seq: number;
  readonly instanceId: string;
  readonly executionId: string;
}

/** A timer whose time has come. */
export interface DueTimer {
  readonly instanceId: string;
  readonly executionId: string;
  readonly taskId: number;
  readonly fireAtMs: number;
}

/** Inboxes of orchestrations, pending activities and timers. Writes belong to a transaction. */
export interface WorkStore {
  post(message: Omit<InboxMessage, 'seq'> & { readonly instanceId: string }): void;
  /** At most `limit` messages: control requests, then the start, then the rest in order of arrival. */
  inbox(instanceId: string, limit: number): InboxMessage[];
  controlMessages(instanceId: string): InboxMessage[];
  consume(seqs: readonly number[]): void;
  /** Drops the messages meant for one execution, keeping external events and control requests. */
  dropExecution(instanceId: string, executionId: string): void;
  dropInbox(instanceId: string): void;
  instancesWithInbox(): string[];

  addActivity(instanceId: string, executionId: string, activity: NewActivity): PendingActivity;
  /** Removes it; `false` when it was answered or dropped before. */
  finishActivity(seq: number): boolean;
  isPending(seq: number): boolean;
  pendingActivities(): PendingActivity[];

  addTimer(timer: DueTimer): void;
  removeTimer(instanceId: string, taskId: number): void;
  /** The earliest time at which a timer is due, or `null`. */
  nextTimerMs(): number | null;
  dueTimers(nowMs: number, limit: number): DueTimer[];
}

/** Prepares the statements once; the database must outlive the store. */
export function createWorkStore(db: DatabaseSync): WorkStore {
  return { ...inboxPart(db), ...activityPart(db), ...timerPart(db) };
}

type InboxPart = Pick<
  WorkStore,
  | 'post'
  | 'inbox'
  | 'controlMessages'
  | 'consume'
  | 'dropExecution'
  | 'dropInbox'
  | 'instancesWithInbox'
>;

function inboxPart(db: DatabaseSync): InboxPart {
  const insert = db.prepare(
    'INSERT INTO inbox (instance_id, execution_id, kind, json) VALUES (?,?,?,?)',
  );
  const select = db.prepare('SELECT * FROM inbox WHERE instance_id = ? ORDER BY seq LIMIT ?');
  const urgent = db.prepare(
    "SELECT * FROM inbox WHERE instance_id = ? AND kind IN ('control', 'start') ORDER BY seq",
  );
  const remove = db.prepare('DELETE FROM inbox WHERE seq = ?');
  const dropExecution = db.prepare('DELETE FROM inbox WHERE instance_id = ? AND execution_id = ?');
  const dropAll = db.prepare('DELETE FROM inbox WHERE instance_id = ?');
  const owners = db.prepare('SELECT DISTINCT instance_id FROM inbox');
  const readUrgent = (id: string, kind: InboxKind): InboxMessage[] =>
    urgent
      .all(id)
      .map(readMessage)
      .filter((message) => message.kind === kind);

  return {
    post: ({ instanceId, executionId, kind, event }) =>
      void insert.run(instanceId, executionId, kind, JSON.stringify(event)),
    inbox(instanceId, limit) {
      const start = readUrgent(instanceId, 'start');
      const rest = select.all(instanceId, limit).map(readMessage);
      return [...start, ...rest.filter(({ kind }) => kind !== 'start' && kind !== 'control')];
    },
    controlMessages: (instanceId) => readUrgent(instanceId, 'control'),
    consume(seqs) {
      for (const seq of seqs) remove.run(seq);
    },
    dropExecution: (instanceId, executionId) => void dropExecution.run(instanceId, executionId),
    dropInbox: (instanceId) => void dropAll.run(instanceId),
    instancesWithInbox: () => owners.all().map((row) => requiredText(row, 'instance_id')),
  };
}

function readMessage(row: Readonly<Record<string, SQLOutputValue>>): InboxMessage {
  return {
    seq: requiredNumber(row, 'seq'),
    executionId: textOrNull(row, 'execution_id'),
    kind: requiredText(row, 'kind') as InboxKind,
    event: JSON.parse(requiredText(row, 'json')) as IncomingEvent,
  };
}

type ActivityPart = Pick<
  WorkStore,
  'addActivity' | 'finishActivity' | 'isPending' | 'pendingActivities'
>;

function activityPart(db: DatabaseSync): ActivityPart {
  const insert = db.prepare(
    'INSERT INTO activities (instance_id, execution_id, task_id, kind, name, input) VALUES (?,?,?,?,?,?)',
  );
  const remove = db.prepare('DELETE FROM activities WHERE seq = ?');
  const exists = db.prepare('SELECT 1 FROM activities WHERE seq = ?');
  const all = db.prepare('SELECT * FROM activities ORDER BY seq');
  return {
    addActivity(instanceId, executionId, activity) {
      const { taskId, kind, name, input } = activity;
      const result = insert.run(instanceId, executionId, taskId, kind, name, input);
      return { ...activity, seq: Number(result.lastInsertRowid), instanceId, executionId };
    },
    finishActivity: (seq) => remove.run(seq).changes === 1,
    isPending: (seq) => exists.get(seq) !== undefined,
    pendingActivities: () =>
      all.all().map((row) => ({
        seq: requiredNumber(row, 'seq'),
        instanceId: requiredText(row, 'instance_id'),
        executionId: requiredText(row, 'execution_id'),
        taskId: requiredNumber(row, 'task_id'),
        kind: requiredText(row, 'kind') as NewActivity['kind'],
        name: requiredText(row, 'name'),
        input: textOrNull(row, 'input'),
      })),
  };
}

type TimerPart = Pick<WorkStore, 'addTimer' | 'removeTimer' | 'nextTimerMs' | 'dueTimers'>;

function timerPart(db: DatabaseSync): TimerPart {
  const insert = db.prepare(
    'INSERT OR REPLACE INTO timers (instance_id, task_id, execution_id, fire_at) VALUES (?,?,?,?)',
  );
  const remove = db.prepare('DELETE FROM timers WHERE instance_id = ? AND task_id = ?');
  const next = db.prepare('SELECT MIN(fire_at) AS fire_at FROM timers');
  const due = db.prepare('SELECT * FROM timers WHERE fire_at <= ? ORDER BY fire_at LIMIT ?');
  return {
    addTimer: ({ instanceId, taskId, executionId, fireAtMs }) =>
      void insert.run(instanceId, taskId, executionId, fireAtMs),
    removeTimer: (instanceId, taskId) => void remove.run(instanceId, taskId),
    nextTimerMs() {
      const value = next.get()?.['fire_at'];
      return typeof value === 'number' ? value : null;
    },
    dueTimers: (nowMs, limit) =>
      due.all(nowMs, limit).map((row) => ({
        instanceId: requiredText(row, 'instance_id'),
        executionId: requiredText(row, 'execution_id'),
        taskId: requiredNumber(row, 'task_id'),
        fireAtMs: requiredNumber(row, 'fire_at'),
      })),
  };
}
