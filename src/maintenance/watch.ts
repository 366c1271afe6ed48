import type { ShardId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Services } from '../services.ts';
import { IS_STILL_RUNNING, killStatement, markText, READ_WAITING } from './unit-statements.ts';

export type WatchServices = Pick<Services, 'database' | 'clock' | 'logger'>;

export interface WatchedStatement {
  readonly shardId: ShardId;
  readonly sessionId: string;
  /** Of the statement in the process list. */
  readonly mark: string;
  /** Others may be seen waiting for this long. */
  readonly maxBlockMs: number;
  /** The statement may run for this long. */
  readonly limitMs: number;
}

export interface WatchResult {
  /** Why the watcher ended the statement; null when it did not. */
  readonly ended: 'blocked-others' | 'time-up' | null;
  readonly longestBlockMs: number;
}

/** Often enough to tell a stall of a second, and two short statements each time. */
const LOOK_EVERY_MS = 250;
const LOOK_DEADLINE_MS = 2_000;

/**
 * Runs a statement and looks meanwhile, through another connection, whether sessions of the database wait for a metadata
 * lock or a flush. Ends the statement (KILL QUERY, after making sure that the session still runs this one) when somebody
 * waits for longer than allowed or its time is up. Gives the statement's end and what was seen; never throws itself.
 */
export async function runWatched<T>(
  services: WatchServices,
  statement: WatchedStatement,
  run: () => Promise<T>,
): Promise<{ readonly end: PromiseSettledResult<T>; readonly watch: WatchResult }> {
  const stop = new AbortController();
  const watching = watch(services, statement, stop.signal);
  const [end] = await Promise.allSettled([run()]);
  stop.abort(new Error('the statement has ended'));
  return { end: end as PromiseSettledResult<T>, watch: await watching };
}

async function watch(
  services: WatchServices,
  statement: WatchedStatement,
  signal: AbortSignal,
): Promise<WatchResult> {
  const { clock, logger } = services;
  const startedMs = clock.monotonicMs();
  /** Since when each session has been seen waiting, without a gap. */
  let waiting = new Map<string, number>();
  let longestBlockMs = 0;
  let ended: WatchResult['ended'] = null;
  while (!(await isOver(services, signal))) {
    try {
      const ids = await waitingSessions(services, statement);
      const nowMs = clock.monotonicMs();
      waiting = new Map(ids.map((id) => [id, waiting.get(id) ?? nowMs]));
      const block = Math.max(0, ...[...waiting.values()].map((sinceMs) => nowMs - sinceMs));
      longestBlockMs = Math.max(longestBlockMs, block);
      const reason =
        block > statement.maxBlockMs
          ? 'blocked-others'
          : nowMs - startedMs > statement.limitMs
            ? 'time-up'
            : null;
      // Again at each look, until the statement has ended.
      if (reason !== null && (await endStatement(services, statement))) ended ??= reason;
    } catch (error) {
      logger.log('warn', 'maintenance.watch_failed', {
        shardId: statement.shardId,
        ...errorFields(error),
      });
    }
  }
  return { ended, longestBlockMs };
}

async function isOver(services: WatchServices, signal: AbortSignal): Promise<boolean> {
  try {
    await services.clock.sleep(LOOK_EVERY_MS, signal);
    return signal.aborted;
  } catch {
    return true;
  }
}

async function waitingSessions(
  { database }: WatchServices,
  { shardId, sessionId }: WatchedStatement,
): Promise<readonly string[]> {
  const rows = await database.onShard(shardId, (shard) => shard.query(READ_WAITING, [sessionId]), {
    deadlineMs: LOOK_DEADLINE_MS,
  });
  return rows.map((row) => String(row['id']));
}

/** True when the statement was still running and was told to end. */
async function endStatement(
  { database }: WatchServices,
  { shardId, sessionId, mark }: WatchedStatement,
): Promise<boolean> {
  return database.onSession(
    shardId,
    async (session) => {
      const [row] = await session.query(IS_STILL_RUNNING, [sessionId, markText(mark)]);
      if (Number(row?.['n']) === 0) return false;
      await session.command(killStatement(sessionId));
      return true;
    },
    { deadlineMs: LOOK_DEADLINE_MS },
  );
}
