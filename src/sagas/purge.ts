import type { Deadline } from '../kernel/deadline.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import type { Purger } from './modules.ts';

/**
 * Chunks per purger, shard and run: with the defaults 4 000 rows a minute, so that a purge keeps up with sixty sagas a
 * second and shard, and is never more than a small part of what a shard does.
 */
const MAX_CHUNKS = 20;
/** Rows of one transaction, however many the sweep may look at: its locks are held for the time of one small batch. */
const MAX_CHUNK_ROWS = 1_000;
/** Less than this left: no further chunk is begun. */
const WORTH_BEGINNING_MS = 1_000;

export interface PurgeRun {
  readonly shard: ShardId;
  readonly nowMs: number;
  readonly deadline: Deadline;
  /** `next` of the run before; empty for the beginning. */
  readonly after: string;
}

/** Runs a purger chunk by chunk, to its end or to the bounds of one run. Idempotent. */
export async function runPurger(
  services: Services,
  purger: Purger,
  { shard, nowMs, deadline, after }: PurgeRun,
): Promise<{ readonly deleted: number; readonly next: string }> {
  const { SAGA_RETENTION_HOURS, SAGA_SWEEP_ROWS } = services.config;
  const olderThanMs = nowMs - SAGA_RETENTION_HOURS * 3_600_000;
  const limit = Math.min(SAGA_SWEEP_ROWS, MAX_CHUNK_ROWS);
  let deleted = 0;
  let next: string | null = after;
  for (let chunks = 0; chunks < MAX_CHUNKS && next !== null; chunks++) {
    if (deadline.remainingMs() < WORTH_BEGINNING_MS) break;
    const step = await purger.purge(services, { shard, olderThanMs, limit, after: next });
    deleted += step.deleted;
    next = step.next;
  }
  return { deleted, next: next ?? '' };
}
