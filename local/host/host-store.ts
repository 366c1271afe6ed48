import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** A queue message this host holds. `popReceipt` is the newest one. */
export interface Claim {
  readonly connection: string;
  readonly queue: string;
  readonly messageId: string;
  readonly popReceipt: string;
}

/** When a timer ran and is due, in milliseconds since the epoch; `lastMs` is 0 before the first run. */
export interface TimerRecord {
  readonly lastMs: number;
  readonly nextMs: number;
  readonly lastUpdatedMs: number;
}

/** What triggers remember between two runs of the host (`host.sqlite` in the data folder). */
export interface HostStore {
  saveClaims(claims: readonly Claim[]): void;
  /**
   * Written down with the next claims, or at the end: a write for each message would cost more than to find, after a crash,
   * that some claimed messages are gone.
   */
  dropClaim(messageId: string): void;
  claims(): readonly Claim[];
  readTimer(functionName: string): TimerRecord | undefined;
  writeTimer(functionName: string, record: TimerRecord): void;
  close(): void;
}

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS queue_claims (
    message_id TEXT PRIMARY KEY, connection TEXT NOT NULL, queue TEXT NOT NULL, pop_receipt TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS timer_records (
    function_name TEXT PRIMARY KEY, last_ms INTEGER NOT NULL, next_ms INTEGER NOT NULL, last_updated_ms INTEGER NOT NULL
  ) STRICT;
`;

/** Opens or creates the store. The caller holds the folder's lock. */
export function openHostStore(dataDir: string): HostStore {
  const database = new DatabaseSync(join(dataDir, 'host.sqlite'));
  database.exec(SCHEMA);
  const insertClaim = database.prepare(
    `INSERT INTO queue_claims (message_id, connection, queue, pop_receipt) VALUES (?, ?, ?, ?)
     ON CONFLICT (message_id) DO UPDATE SET pop_receipt = excluded.pop_receipt`,
  );
  const deleteClaim = database.prepare('DELETE FROM queue_claims WHERE message_id = ?');
  const writeRecord = database.prepare(
    `INSERT INTO timer_records (function_name, last_ms, next_ms, last_updated_ms) VALUES (?, ?, ?, ?)
     ON CONFLICT (function_name) DO UPDATE
     SET last_ms = excluded.last_ms, next_ms = excluded.next_ms, last_updated_ms = excluded.last_updated_ms`,
  );
  const dropped = new Set<string>();
  const writeClaims = (claims: readonly Claim[]): void => {
    database.exec('BEGIN');
    // First, since a message that was given back may be among the new ones.
    for (const messageId of dropped) deleteClaim.run(messageId);
    for (const { messageId, connection, queue, popReceipt } of claims) {
      insertClaim.run(messageId, connection, queue, popReceipt);
    }
    database.exec('COMMIT');
    dropped.clear();
  };
  return {
    saveClaims: writeClaims,
    dropClaim: (messageId) => void dropped.add(messageId),
    claims: () => {
      writeClaims([]);
      return database
        .prepare(
          `SELECT message_id AS messageId, connection, queue, pop_receipt AS popReceipt FROM queue_claims`,
        )
        .all() as unknown as Claim[];
    },
    readTimer: (functionName) =>
      database
        .prepare(
          `SELECT last_ms AS lastMs, next_ms AS nextMs, last_updated_ms AS lastUpdatedMs
           FROM timer_records WHERE function_name = ?`,
        )
        .get(functionName) as TimerRecord | undefined,
    writeTimer: (functionName, record) =>
      void writeRecord.run(functionName, record.lastMs, record.nextMs, record.lastUpdatedMs),
    close: () => {
      try {
        writeClaims([]);
      } finally {
        database.close();
      }
    },
  };
}
