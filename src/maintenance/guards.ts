import type { Shard } from '../database/contracts.ts';
import { isFailure } from '../database/database-error.ts';
import { overload, readLoad } from '../database/shard-load.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { isRetryable } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import type { TableFigures, UnitCode, Work } from './model.ts';
import { allocatedBytes, mib } from './policy.ts';
import { readOr } from './read-or.ts';
import {
  COUNT_MOVES_FROM,
  COUNT_MOVES_IN,
  READ_FILE_BYTES_MARIADB,
  READ_FILE_BYTES_MYSQL,
  READ_OLDEST_TRANSACTION,
  READ_READ_ONLY,
  READ_REPLICA,
  READ_WAITING,
} from './unit-statements.ts';

/** Why a unit does not begin. */
export interface Obstacle {
  readonly code: UnitCode;
  readonly reason: string;
}

/** Bytes free on a shard's disk; null when nobody knows. */
export type FreeSpaceSource = (shard: ShardId) => Promise<number | null>;

export type GuardServices = Pick<Services, 'database' | 'clock' | 'config'>;

export interface GuardSubject {
  readonly shardId: ShardId;
  readonly figures: TableFigures;
  readonly action: Work;
  /** Connection id of the unit's session. */
  readonly sessionId: string;
  readonly freeBytes: FreeSpaceSource;
}

/** What the guards say: the first obstacle, if any, and what could not be looked at. */
export interface GuardVerdict {
  readonly obstacle: Obstacle | undefined;
  readonly notes: readonly string[];
}

type Guard = (
  services: GuardServices,
  shard: Shard,
  subject: GuardSubject,
  notes: string[],
) => Promise<Obstacle | undefined>;

/** For ANALYZE, which waits for nobody (FACTS-mysql 6). */
const LIGHT: readonly Guard[] = [notReadOnly, notLoaded, nobodyWaits];
/** For what takes metadata locks, disk, and the buffer pool. */
const HEAVY: readonly Guard[] = [...LIGHT, noOldTransaction, noMoves, replicaIsClose];

/**
 * Looks whether now is the time for the unit. What a server does not tell, by its version or for want of a privilege,
 * hinders nothing and is noted.
 */
export async function checkGuards(
  services: GuardServices,
  shard: Shard,
  subject: GuardSubject,
): Promise<GuardVerdict> {
  const notes: string[] = [];
  const guards = subject.action === 'analyze' ? LIGHT : HEAVY;
  const all = subject.action === 'rebuild' ? [...guards, enoughDisk] : guards;
  for (const guard of all) {
    const obstacle = await guard(services, shard, subject, notes);
    if (obstacle !== undefined) return { obstacle, notes };
  }
  return { obstacle: undefined, notes };
}

async function notReadOnly(_: GuardServices, shard: Shard): Promise<Obstacle | undefined> {
  const [row] = await shard.query(READ_READ_ONLY, []);
  return Number(row?.['read_only']) === 0
    ? undefined
    : { code: 'read-only', reason: 'the server takes no writes (read_only)' };
}

async function notLoaded(services: GuardServices, shard: Shard): Promise<Obstacle | undefined> {
  const { clock, config } = services;
  const reason = overload(
    await readLoad(shard, clock),
    {
      threadsRunning: config.MAINTENANCE_MAX_THREADS_RUNNING,
      probeMs: config.MAINTENANCE_MAX_PROBE_MS,
      history: config.MAINTENANCE_MAX_HISTORY,
    },
    'MAINTENANCE',
  );
  return reason === undefined ? undefined : { code: 'under-load', reason };
}

async function nobodyWaits(
  _: GuardServices,
  shard: Shard,
  { figures, sessionId }: GuardSubject,
): Promise<Obstacle | undefined> {
  const waiting = await shard.query(READ_WAITING, [sessionId]);
  const here = waiting.filter((row) => String(row['info'] ?? '').includes(figures.table));
  return here.length === 0
    ? undefined
    : {
        code: 'metadata-lock',
        reason: `${here.length} sessions wait for a metadata lock on the table already`,
      };
}

async function noOldTransaction(
  { config }: GuardServices,
  shard: Shard,
  { sessionId }: GuardSubject,
  notes: string[],
): Promise<Obstacle | undefined> {
  const [oldest] = await readOr(shard, READ_OLDEST_TRANSACTION, [sessionId], () => {
    notes.push('open transactions cannot be seen: PROCESS is needed');
    return [];
  });
  const seconds = Number(oldest?.['seconds'] ?? 0);
  const limit = config.MAINTENANCE_LONG_TRANSACTION_SECONDS;
  return seconds < limit
    ? undefined
    : {
        code: 'long-transaction',
        reason: `session ${String(oldest?.['id'])} has had a transaction open for ${seconds} s (MAINTENANCE_LONG_TRANSACTION_SECONDS ${limit}); everybody would queue behind a rebuild that waits for it`,
      };
}

const SHARDS_AT_ONCE = 8;
const ELSEWHERE_DEADLINE_MS = 3_000;

async function noMoves(
  { database, config }: GuardServices,
  shard: Shard,
  { shardId }: GuardSubject,
  notes: string[],
): Promise<Obstacle | undefined> {
  const seconds = Math.ceil(config.MAINTENANCE_MOVE_QUIET_MS / 1_000);
  const [here] = await shard.query(COUNT_MOVES_IN, [seconds]);
  const others = database.shardIds().filter((id) => id !== shardId);
  const counts = await mapBounded(others, SHARDS_AT_ONCE, async (id) => {
    try {
      const [row] = await database.onShard(
        id,
        (on) => on.query(COUNT_MOVES_FROM, [shardId, seconds]),
        { deadlineMs: ELSEWHERE_DEADLINE_MS },
      );
      return Number(row?.['n'] ?? 0);
    } catch (error) {
      // A shard that is away receives nothing either.
      notes.push(`moves to shard ${id} cannot be seen: ${String(error)}`.slice(0, 300));
      return 0;
    }
  });
  const total = Number(here?.['n'] ?? 0) + counts.reduce((sum, count) => sum + count, 0);
  return total === 0
    ? undefined
    : { code: 'moves-running', reason: `${total} buckets are on the move to or from the shard` };
}

async function replicaIsClose(
  { config }: GuardServices,
  shard: Shard,
  _: GuardSubject,
  notes: string[],
): Promise<Obstacle | undefined> {
  const [row] = await readOr(shard, READ_REPLICA, [], () => {
    notes.push('replication lag cannot be seen: REPLICATION CLIENT or SLAVE MONITOR is needed');
    return [];
  });
  const lag = row?.['Seconds_Behind_Source'] ?? row?.['Seconds_Behind_Master'];
  if (lag === undefined || lag === null) return undefined;
  const limit = config.MAINTENANCE_MAX_LAG_SECONDS;
  return Number(lag) <= limit
    ? undefined
    : {
        code: 'replica-lag',
        reason: `the server is ${String(lag)} s behind its source (MAINTENANCE_MAX_LAG_SECONDS ${limit})`,
      };
}

/** The new copy, sort files of its indexes, and the log of changes made meanwhile. */
const REBUILD_SPACE_FACTOR = 1.5;

async function enoughDisk(
  { config }: GuardServices,
  _shard: Shard,
  { figures, shardId, freeBytes }: GuardSubject,
): Promise<Obstacle | undefined> {
  const bytes = allocatedBytes(figures);
  const needed = Math.ceil(bytes * REBUILD_SPACE_FACTOR);
  const free = await freeBytes(shardId);
  if (free !== null) {
    return free >= needed
      ? undefined
      : {
          code: 'disk-space-short',
          reason: `a rebuild takes up to ${mib(needed)} and ${mib(Math.max(0, free))} are free`,
        };
  }
  const limit = config.MAINTENANCE_UNKNOWN_DISK_MAX_MB * 1024 * 1024;
  return bytes <= limit
    ? undefined
    : {
        code: 'disk-space-unknown',
        reason: `nobody knows the free space (MAINTENANCE_STORAGE_MB is not set), and ${mib(bytes)} is above MAINTENANCE_UNKNOWN_DISK_MAX_MB`,
      };
}

/** Left for binary logs, temporary files and growth: they do not show in the tablespaces. */
const RESERVED_SHARE = 0.1;

/**
 * Free space by MAINTENANCE_STORAGE_MB, less what the server's tablespaces take and a tenth in reserve; null where that is
 * not set or the server does not tell. No engine tells the free space of its disk by SQL.
 */
export function freeSpaceBySettings(services: GuardServices): FreeSpaceSource {
  const { config, database } = services;
  const total = config.MAINTENANCE_STORAGE_MB * 1024 * 1024;
  return async (shardId) => {
    if (total === 0) return null;
    const rows = await database.onShard(
      shardId,
      (shard) =>
        readOr(shard, READ_FILE_BYTES_MYSQL, [], () =>
          readOr(shard, READ_FILE_BYTES_MARIADB, [], () => []),
        ),
      { deadlineMs: ELSEWHERE_DEADLINE_MS },
    );
    const used = rows[0]?.['bytes'];
    return used === undefined || used === null
      ? null
      : Math.floor(total * (1 - RESERVED_SHARE) - Number(used));
  };
}

/** The obstacle that an error of a look or of the log stands for. */
export function obstacleOf(error: unknown): Obstacle {
  if (isFailure(error, 'read-only')) {
    return { code: 'read-only', reason: 'the server takes no writes (read_only)' };
  }
  if (isFailure(error, 'misconfigured')) {
    return { code: 'not-permitted', reason: 'the account lacks a privilege on the shard' };
  }
  return isRetryable(error)
    ? { code: 'shard-unavailable', reason: 'the shard does not answer at the moment' }
    : { code: 'refused', reason: String(error) };
}
