import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { errorMessage, HostStartError } from './app/errors.ts';

export interface FolderLock {
  /** Records where this host listens, for the message a second host shows. */
  describe(origin: string): void;
  release(): void;
}

/** A host that was just killed needs a moment until the kernel drops its lock. */
const WAIT_MS = 1_000;

/**
 * Takes the folder for this process, so that two hosts never run the same orchestrations.
 * The lock is an exclusive SQLite transaction: the operating system drops it when the process ends,
 * `kill -9` included, so nothing stale can remain. Throws {@link HostStartError} when it is taken.
 */
export function lockDataFolder(dataDir: string): FolderLock {
  mkdirSync(dataDir, { recursive: true });
  const ownerFile = join(dataDir, 'host-owner.json');
  const database = new DatabaseSync(join(dataDir, 'host-lock.sqlite'), { timeout: WAIT_MS });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    throw new HostStartError(
      `The data folder ${dataDir} is in use by another host${readOwner(ownerFile)}. Stop that host, or give this one its own folder with --data.`,
      error,
    );
  }
  const describe = (origin: string | undefined): void =>
    writeFileSync(ownerFile, `${JSON.stringify({ pid: process.pid, origin })}\n`);
  describe(undefined);
  return { describe, release: () => database.close() };
}

function readOwner(file: string): string {
  try {
    const owner = JSON.parse(readFileSync(file, 'utf8')) as { pid?: unknown; origin?: unknown };
    const place = typeof owner.origin === 'string' ? ` on ${owner.origin}` : '';
    return ` (process ${String(owner.pid)}${place})`;
  } catch (error) {
    // The lock decides; the description only helps, and its writer may be half-way.
    return ` (its description cannot be read: ${errorMessage(error)})`;
  }
}
