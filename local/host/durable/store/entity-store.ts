import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import type { EntityMessage } from '../entities/entity-messages.ts';
import { requiredNumber, requiredText, textOrNull } from './columns.ts';

/** One row of `entities`; `state` is the JSON text the entity itself wrote. */
export interface EntityRow {
  readonly id: string;
  readonly exists: boolean;
  readonly state: string | null;
  /** Instance id of the orchestration holding the lock. */
  readonly lockOwner: string | null;
  readonly lockId: string | null;
  readonly updatedMs: number;
}

/** A message waiting for an entity. */
export interface EntityInboxMessage {
  readonly seq: number;
  readonly message: EntityMessage;
}

/** Entities and their inboxes. Writes belong to a transaction. */
export interface EntityStore {
  get(id: string): EntityRow | null;
  put(row: EntityRow): void;
  /** Existing entities in order of id, from after `afterId`; `name` is lower-case, '' means all. */
  list(filter: { name: string; afterId: string; limit: number }): EntityRow[];
  post(entityId: string, message: EntityMessage): void;
  inbox(entityId: string, limit: number): EntityInboxMessage[];
  /** Only the messages of one orchestration, which are all that a locked entity may run. */
  inboxOf(entityId: string, parentId: string, limit: number): EntityInboxMessage[];
  consume(seqs: readonly number[]): void;
  entitiesWithInbox(): string[];
}

/** Prepares the statements once; the database must outlive the store. */
export function createEntityStore(db: DatabaseSync): EntityStore {
  const select = db.prepare('SELECT * FROM entities WHERE id = ?');
  const upsert = db.prepare(
    `INSERT INTO entities (id, entity_exists, state, lock_owner, lock_id, updated) VALUES (?,?,?,?,?,?)
     ON CONFLICT (id) DO UPDATE SET entity_exists=excluded.entity_exists, state=excluded.state,
       lock_owner=excluded.lock_owner, lock_id=excluded.lock_id, updated=excluded.updated`,
  );
  const forget = db.prepare('DELETE FROM entities WHERE id = ?');
  const list = db.prepare(
    'SELECT * FROM entities WHERE id >= ? AND id > ? AND id < ? AND entity_exists = 1 ORDER BY id LIMIT ?',
  );
  const insert = db.prepare('INSERT INTO entity_inbox (entity_id, parent_id, json) VALUES (?,?,?)');
  const inbox = db.prepare('SELECT * FROM entity_inbox WHERE entity_id = ? ORDER BY seq LIMIT ?');
  const inboxOf = db.prepare(
    'SELECT * FROM entity_inbox WHERE entity_id = ? AND parent_id = ? ORDER BY seq LIMIT ?',
  );
  const remove = db.prepare('DELETE FROM entity_inbox WHERE seq = ?');
  const owners = db.prepare('SELECT DISTINCT entity_id FROM entity_inbox');

  return {
    get(id) {
      const row = select.get(id);
      return row === undefined ? null : readEntity(row);
    },
    put(row) {
      // A row that says nothing would only make lists longer.
      if (!row.exists && row.lockOwner === null) {
        forget.run(row.id);
        return;
      }
      const exists = row.exists ? 1 : 0;
      upsert.run(row.id, exists, row.state, row.lockOwner, row.lockId, row.updatedMs);
    },
    list({ name, afterId, limit }) {
      const from = name === '' ? '@' : `@${name}@`;
      // '@' + 1 is 'A': the first text after every id with this prefix.
      const until = name === '' ? 'A' : `@${name}A`;
      return list.all(from, afterId, until, limit).map(readEntity);
    },
    post: (entityId, message) =>
      void insert.run(entityId, message.parentId, JSON.stringify(message)),
    inbox: (entityId, limit) => inbox.all(entityId, limit).map(readMessage),
    inboxOf: (entityId, parentId, limit) => inboxOf.all(entityId, parentId, limit).map(readMessage),
    consume(seqs) {
      for (const seq of seqs) remove.run(seq);
    },
    entitiesWithInbox: () => owners.all().map((row) => requiredText(row, 'entity_id')),
  };
}

function readMessage(row: Readonly<Record<string, SQLOutputValue>>): EntityInboxMessage {
  return {
    seq: requiredNumber(row, 'seq'),
    message: JSON.parse(requiredText(row, 'json')) as EntityMessage,
  };
}

function readEntity(row: Readonly<Record<string, SQLOutputValue>>): EntityRow {
  return {
    id: requiredText(row, 'id'),
    exists: requiredNumber(row, 'entity_exists') === 1,
    state: textOrNull(row, 'state'),
    lockOwner: textOrNull(row, 'lock_owner'),
    lockId: textOrNull(row, 'lock_id'),
    updatedMs: requiredNumber(row, 'updated'),
  };
}
