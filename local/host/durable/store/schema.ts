/**
 * The tables of `durable.sqlite`. Times are integers, ms since the epoch; JSON columns hold text.
 *
 * Only the current execution of an instance is kept: `continueAsNew` empties its history. Messages
 * name the execution they belong to and are dropped when it is no longer the current one.
 */
export const SCHEMA = `
CREATE TABLE IF NOT EXISTS instances (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  version TEXT,
  execution_id TEXT NOT NULL,
  parent_id TEXT, parent_task INTEGER, parent_exec TEXT,
  status TEXT NOT NULL,
  input TEXT, output TEXT, custom_status TEXT,
  created INTEGER NOT NULL, updated INTEGER NOT NULL,
  next_seq INTEGER NOT NULL DEFAULT 0,
  last_turn INTEGER NOT NULL DEFAULT 0,
  lock_id TEXT, lock_set TEXT,
  rewind_from INTEGER
);
CREATE INDEX IF NOT EXISTS instances_by_created ON instances (created, id);

CREATE TABLE IF NOT EXISTS history (
  instance_id TEXT NOT NULL, n INTEGER NOT NULL, json TEXT NOT NULL,
  PRIMARY KEY (instance_id, n)
) WITHOUT ROWID;

-- Flattened actions in the order the orchestrator made them: the record against which replays are checked.
CREATE TABLE IF NOT EXISTS actions (
  instance_id TEXT NOT NULL, n INTEGER NOT NULL, json TEXT NOT NULL,
  PRIMARY KEY (instance_id, n)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS open_tasks (
  instance_id TEXT NOT NULL, task_id INTEGER NOT NULL, kind TEXT NOT NULL, retry_id INTEGER,
  PRIMARY KEY (instance_id, task_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS retries (
  instance_id TEXT NOT NULL, retry_id INTEGER NOT NULL, json TEXT NOT NULL,
  PRIMARY KEY (instance_id, retry_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS inbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  instance_id TEXT NOT NULL, execution_id TEXT, kind TEXT NOT NULL, json TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS inbox_by_instance ON inbox (instance_id, seq);
CREATE INDEX IF NOT EXISTS inbox_urgent ON inbox (instance_id, seq) WHERE kind IN ('control', 'start');

CREATE TABLE IF NOT EXISTS activities (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  instance_id TEXT NOT NULL, execution_id TEXT NOT NULL, task_id INTEGER NOT NULL,
  kind TEXT NOT NULL, name TEXT NOT NULL, input TEXT
);
CREATE INDEX IF NOT EXISTS activities_by_instance ON activities (instance_id);

-- W3C trace parent of who started the instance; kept apart, so that older stores stay usable.
CREATE TABLE IF NOT EXISTS traces (
  instance_id TEXT PRIMARY KEY, trace_parent TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS timers (
  instance_id TEXT NOT NULL, task_id INTEGER NOT NULL, execution_id TEXT NOT NULL,
  fire_at INTEGER NOT NULL,
  PRIMARY KEY (instance_id, task_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS timers_by_time ON timers (fire_at);

CREATE TABLE IF NOT EXISTS entities (
  id TEXT PRIMARY KEY,
  entity_exists INTEGER NOT NULL, state TEXT,
  lock_owner TEXT, lock_id TEXT,
  updated INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS entity_inbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  entity_id TEXT NOT NULL, parent_id TEXT, json TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entity_inbox_by_entity ON entity_inbox (entity_id, seq);
CREATE INDEX IF NOT EXISTS entity_inbox_by_parent ON entity_inbox (entity_id, parent_id, seq);
`;

/** Raised with every incompatible change; a store of another version is refused. */
export const SCHEMA_VERSION = 1;
