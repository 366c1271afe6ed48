import { loadavg } from 'node:os';
import type { Shard } from '../src/database/contracts.ts';
import { BugError } from '../src/kernel/errors.ts';
import type { BucketId, ShardId } from '../src/kernel/ids.ts';
import { advanceMove } from '../src/rebalancing/advance.ts';
import type { Move } from '../src/rebalancing/model.ts';
import { diffPass } from '../src/rebalancing/pass.ts';
import { createThrottle } from '../src/rebalancing/throttle.ts';
import type { Services } from '../src/services.ts';
import { SHARDED_TABLES } from '../src/sharding/sharded-tables.ts';
import type { Random } from '../test/support/random.ts';
import type { DumpPipe } from './dump-pipe.ts';
import { shuffled } from './drive.ts';
import { checksumOfTables, emptyShard, scanTable } from './statements.ts';

/** Of shard 0 when there are two. */
export const BUCKET = 0 as BucketId;
export const PATIENT = { deadlineMs: 600_000 };

export interface MoveBench {
  readonly services: Services;
  readonly pipe: DumpPipe;
  readonly from: ShardId;
  readonly to: ShardId;
}

export interface Round {
  readonly dumpMs: number;
  readonly copyMs: number;
  readonly verifyMs: number;
  readonly scanMs: number;
  readonly checksumMs: number;
  /** Of the machine, over the minute before the round's end. */
  readonly load: number;
}

interface RoundOptions {
  readonly number: number;
  readonly rows: number;
  readonly random: Random;
}

/** Measures everything once. Who begins is drawn, so that what the first leaves behind does not always hit the second. */
export async function measureRound(bench: MoveBench, options: RoundOptions): Promise<Round> {
  const dump = async (): Promise<Pick<Round, 'dumpMs'>> => {
    await emptyTarget(bench);
    const dumpMs = await timed(() => bench.pipe.run(BUCKET));
    await expectRows(bench, options.rows);
    return { dumpMs };
  };
  const product = async (): Promise<Omit<Round, 'dumpMs' | 'load'>> => {
    await emptyTarget(bench);
    const { from, to } = bench;
    const move: Move = { id: `bench-${options.number}`, bucket: BUCKET, from, to };
    const copyMs = await timed(() => copy(bench.services, move));
    await expectRows(bench, options.rows);
    const after = {
      verifyMs: () => expectEqual(bench, move, options.rows),
      scanMs: () => onBoth(bench, (shardId) => countBucket(bench, shardId)),
      checksumMs: () => onBoth(bench, (shardId) => checksumTables(bench, shardId)),
    };
    const times = { verifyMs: 0, scanMs: 0, checksumMs: 0 };
    for (const name of shuffled(['verifyMs', 'scanMs', 'checksumMs'] as const, options.random)) {
      times[name] = await timed(after[name]);
    }
    return { copyMs, ...times };
  };
  const measured =
    options.random.below(2) === 0
      ? { ...(await dump()), ...(await product()) }
      : { ...(await product()), ...(await dump()) };
  return { ...measured, load: loadavg()[0] ?? Number.NaN };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAtMs = performance.now();
  await work();
  return performance.now() - startedAtMs;
}

function emptyTarget({ services, to }: MoveBench): Promise<unknown> {
  return services.database.onShard(to, (shard) => shard.packet(emptyShard(BUCKET)), PATIENT);
}

/** From nothing to all rows copied, as an activity does it: preparation, slices, throttle. */
async function copy(services: Services, move: Move): Promise<void> {
  const { REBALANCE_SLICE_MS: sliceMs } = services.config;
  const options = { sliceMs, throttle: createThrottle(services, [move.from, move.to]) };
  for (;;) {
    const advance = await advanceMove(services, move, options);
    if (advance.step === 'copy' && advance.outcome.kind === 'copied') return;
    const goesOn =
      advance.step === 'copy' ||
      (advance.step === 'prepare' && advance.outcome.kind === 'prepared');
    if (!goesOn) throw new BugError('the bench cannot copy', { details: { advance } });
  }
}

async function expectEqual(bench: MoveBench, move: Move, rows: number): Promise<void> {
  const { figures } = await diffPass(bench.services, move);
  if (figures.rows === rows && figures.rowsDiffering === 0) return;
  throw new BugError('what was copied is not equal', { details: { ...figures } });
}

async function onBoth(
  { from, to }: MoveBench,
  work: (shardId: ShardId) => Promise<unknown>,
): Promise<void> {
  await Promise.all([work(from), work(to)]);
}

function checksumTables({ services }: MoveBench, shardId: ShardId): Promise<unknown> {
  return services.database.onShard(
    shardId,
    (shard) => shard.query(checksumOfTables(), []),
    PATIENT,
  );
}

async function expectRows(bench: MoveBench, rows: number): Promise<void> {
  const found = await countBucket(bench, bench.to);
  if (found.rows === rows) return;
  throw new BugError('not all rows were carried over', { details: { expected: rows, found } });
}

/** Rows of the bucket on a shard and their length as text, by {@link scanTable}, one table after the other. */
export function countBucket(
  { services }: Pick<MoveBench, 'services'>,
  shardId: ShardId,
): Promise<{ readonly rows: number; readonly bytes: number }> {
  const count = async (shard: Shard): Promise<{ rows: number; bytes: number }> => {
    let rows = 0;
    let bytes = 0;
    for (const table of SHARDED_TABLES) {
      const [row] = await shard.query(scanTable(table, BUCKET), []);
      rows += Number(row?.['n'] ?? 0);
      bytes += Number(row?.['bytes'] ?? 0);
    }
    return { rows, bytes };
  };
  return services.database.onShard(shardId, count, PATIENT);
}
