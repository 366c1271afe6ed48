import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import type { HeldLock, InstanceRow, ParentLink, RuntimeStatus } from '../turn/turn.ts';
import { requiredNumber, requiredText, textOrNull } from './columns.ts';

/** Reads and writes rows of `instances`. Every write happens inside the caller's transaction. */
export interface InstanceStore {
  get(id: string): InstanceRow | null;
  insert(row: InstanceRow): void;
  /** Writes every mutable column. */
  update(row: InstanceRow): void;
  /** Removes the instance and everything that belongs to it. */
  remove(id: string): void;
  /** The W3C trace parent under which all functions of the instance run, if it was started with one. */
  traceParent(id: string): string | undefined;
  saveTraceParent(id: string, traceParent: string): void;
}

const INSERT = `INSERT INTO instances (id, name, version, execution_id, parent_id, parent_task,
  parent_exec, status, input, output, custom_status, created, updated, next_seq, last_turn,
  lock_id, lock_set, rewind_from) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`;

const UPDATE = `UPDATE instances SET execution_id=?, status=?, input=?, output=?, custom_status=?,
  updated=?, next_seq=?, last_turn=?, lock_id=?, lock_set=?, rewind_from=? WHERE id=?`;

/** Prepares the statements once; the database must outlive the store. */
export function createInstanceStore(db: DatabaseSync): InstanceStore {
  const select = db.prepare('SELECT * FROM instances WHERE id = ?');
  const insert = db.prepare(INSERT);
  const update = db.prepare(UPDATE);
  const removals = [
    'history',
    'actions',
    'open_tasks',
    'retries',
    'inbox',
    'activities',
    'timers',
    'traces',
  ].map((table) => db.prepare(`DELETE FROM ${table} WHERE instance_id = ?`));
  const selectTrace = db.prepare('SELECT trace_parent FROM traces WHERE instance_id = ?');
  const insertTrace = db.prepare('INSERT INTO traces (instance_id, trace_parent) VALUES (?,?)');
  const removeRow = db.prepare('DELETE FROM instances WHERE id = ?');

  return {
    get(id) {
      const row = select.get(id);
      return row === undefined ? null : readInstance(row);
    },
    insert(row) {
      insert.run(...insertValues(row));
    },
    update(row) {
      update.run(...updateValues(row));
    },
    remove(id) {
      for (const statement of removals) statement.run(id);
      removeRow.run(id);
    },
    traceParent(id) {
      const row = selectTrace.get(id);
      return row === undefined ? undefined : requiredText(row, 'trace_parent');
    },
    saveTraceParent(id, traceParent) {
      insertTrace.run(id, traceParent);
    },
  };
}

function insertValues(row: InstanceRow): (string | number | null)[] {
  return [
    row.id,
    row.name,
    row.version,
    row.executionId,
    row.parent?.instanceId ?? null,
    row.parent?.taskId ?? null,
    row.parent?.executionId ?? null,
    row.status,
    row.input,
    row.output,
    row.customStatus,
    row.createdMs,
    row.updatedMs,
    row.nextSeq,
    row.lastTurnMs,
    row.lock?.id ?? null,
    lockSetText(row.lock),
    row.rewindFrom,
  ];
}

function updateValues(row: InstanceRow): (string | number | null)[] {
  return [
    row.executionId,
    row.status,
    row.input,
    row.output,
    row.customStatus,
    row.updatedMs,
    row.nextSeq,
    row.lastTurnMs,
    row.lock?.id ?? null,
    lockSetText(row.lock),
    row.rewindFrom,
    row.id,
  ];
}

function lockSetText(lock: HeldLock | null): string | null {
  return lock === null ? null : JSON.stringify(lock.entityIds);
}

/** Turns a row of `instances` into its record. */
export function readInstance(row: Readonly<Record<string, SQLOutputValue>>): InstanceRow {
  return {
    id: requiredText(row, 'id'),
    name: requiredText(row, 'name'),
    version: textOrNull(row, 'version'),
    executionId: requiredText(row, 'execution_id'),
    parent: readParent(row),
    status: requiredText(row, 'status') as RuntimeStatus,
    input: textOrNull(row, 'input'),
    output: textOrNull(row, 'output'),
    customStatus: textOrNull(row, 'custom_status'),
    createdMs: requiredNumber(row, 'created'),
    updatedMs: requiredNumber(row, 'updated'),
    nextSeq: requiredNumber(row, 'next_seq'),
    lastTurnMs: requiredNumber(row, 'last_turn'),
    lock: readLock(row),
    rewindFrom: row['rewind_from'] === null ? null : requiredNumber(row, 'rewind_from'),
  };
}

function readParent(row: Readonly<Record<string, SQLOutputValue>>): ParentLink | null {
  const instanceId = textOrNull(row, 'parent_id');
  if (instanceId === null) return null;
  return {
    instanceId,
    taskId: requiredNumber(row, 'parent_task'),
    executionId: requiredText(row, 'parent_exec'),
  };
}

function readLock(row: Readonly<Record<string, SQLOutputValue>>): HeldLock | null {
  const id = textOrNull(row, 'lock_id');
  if (id === null) return null;
  return { id, entityIds: JSON.parse(requiredText(row, 'lock_set')) as string[] };
}
