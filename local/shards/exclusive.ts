import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { LocalShardsError } from './errors.ts';

const POLL_MS = 50;

export interface ExclusiveOptions {
  /** Made when missing; holds nothing and is never deleted. */
  readonly lockFile: string;
  /** How long to wait for another process before giving up. */
  readonly timeoutMs: number;
  /** Called once if another process holds the lock. */
  readonly onWait?: () => void;
}

/**
 * Runs `action` while no other process (and no other call in this one) holds the same lock file.
 * The lock is an exclusive SQLite transaction: the operating system drops it when its holder ends,
 * `kill -9` included, so no stale lock can remain. Not re-entrant.
 * Throws {@link LocalShardsError} when the lock is still taken after `timeoutMs`.
 */
export async function exclusively<T>(
  options: ExclusiveOptions,
  action: () => Promise<T>,
): Promise<T> {
  mkdirSync(dirname(options.lockFile), { recursive: true });
  const lock = await acquire(options);
  try {
    return await action();
  } finally {
    lock.close();
  }
}

async function acquire(options: ExclusiveOptions): Promise<DatabaseSync> {
  const deadline = performance.now() + options.timeoutMs;
  for (let attempt = 0; ; attempt += 1) {
    const lock = tryAcquire(options.lockFile);
    if (lock !== undefined) return lock;
    if (attempt === 0) options.onWait?.();
    if (performance.now() > deadline) {
      throw new LocalShardsError(
        `Another process has held ${options.lockFile} for ${options.timeoutMs / 1000} s. Wait for it to end, or stop it, and try again.`,
      );
    }
    await sleep(POLL_MS);
  }
}

function tryAcquire(lockFile: string): DatabaseSync | undefined {
  const database = new DatabaseSync(lockFile, { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database.close();
    if (isBusy(error)) return undefined;
    throw new LocalShardsError(`The lock file ${lockFile} cannot be used.`, error);
  }
}

/** SQLITE_BUSY (5) and its extended codes, which keep 5 in the low byte. */
function isBusy(error: unknown): boolean {
  return (
    error instanceof Error &&
    'errcode' in error &&
    typeof error.errcode === 'number' &&
    (error.errcode & 0xff) === 5
  );
}
