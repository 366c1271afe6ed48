import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SCHEMA, SCHEMA_VERSION } from './schema.ts';

/**
 * Opens `durable.sqlite` in `dataDir`, creating folder and tables as needed.
 *
 * WAL with `synchronous=NORMAL`: a commit survives the death of the process at any moment, not a power
 * cut, which suits a development tool. Exclusive locking keeps a second host away from the folder.
 *
 * @throws Error when another process has the file open, or when its schema version is not ours.
 */
export function openDatabase(dataDir: string): DatabaseSync {
  mkdirSync(dataDir, { recursive: true });
  const file = join(dataDir, 'durable.sqlite');
  const db = new DatabaseSync(file);
  try {
    db.exec('PRAGMA busy_timeout = 3000; PRAGMA locking_mode = EXCLUSIVE;');
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536;');
    // A checkpoint syncs to disk; the default of every 1000 pages would do so each hundred turns.
    db.exec('PRAGMA wal_autocheckpoint = 8000;');
    const found = Number(db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
    if (found !== 0 && found !== SCHEMA_VERSION) {
      throw new Error(
        `has schema version ${found}, this host needs ${SCHEMA_VERSION}; delete the file to start afresh`,
      );
    }
    db.exec(SCHEMA);
    db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    return db;
  } catch (error) {
    db.close();
    const reason = error instanceof Error ? error.message : String(error);
    const hint = reason.includes('locked') ? ' (is another host running on this folder?)' : '';
    throw new Error(`Cannot open the durable store ${file}: ${reason}${hint}`, { cause: error });
  }
}
