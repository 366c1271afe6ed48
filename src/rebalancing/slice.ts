import { AppError, BugError, isRetryable } from '../kernel/errors.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import { errorFields } from '../kernel/logger.ts';
import { advanceMove, readStanding } from './advance.ts';
import type { Advance } from './advance.ts';
import { cancelMove } from './cancel.ts';
import type { Move } from './model.ts';
import type { Obstacle } from './prepare.ts';
import { purgeBucket } from './purge.ts';
import type { Result, Verb } from './run-model.ts';
import { readRecord, STEP_DEADLINE_MS } from './session.ts';
import type { MoveServices } from './session.ts';
import { ThrottledError } from './throttle.ts';

export interface SliceOptions {
  /** No step is begun after this time, monotonic milliseconds. */
  readonly endsAtMs: number;
  readonly stallLimitMs: number;
  readonly throttle: () => Promise<void>;
  /** Asked before each step; false: come back later. */
  readonly mayGoOn: () => Promise<boolean>;
}

/** Longest that one step of the engine goes on without asking whether it may. */
const STEP_MS = 5_000;
/** Fences lifted in one slice before the move is put off: writers should have a rest from it. */
const MAX_LIFTED = 3;
/** Things in a move's way that are removed in one slice; more means that they come back. */
const MAX_CLEARED = 5;

/**
 * Works on one bucket until it is where the verb wants it, or the time is up. Never throws: what fails is a result, and
 * tried again later. Undefined when it was not begun.
 */
export async function workOnBucket(
  services: MoveServices,
  move: Move,
  verb: Verb,
  options: SliceOptions,
): Promise<Result | undefined> {
  const { bucket } = move;
  try {
    return await work(services, move, verb, options);
  } catch (error) {
    if (error instanceof ThrottledError) {
      return { bucket, outcome: 'throttled', throttled: error.throttled };
    }
    const fields = { moveId: move.id, bucketId: bucket, verb, ...errorFields(error) };
    services.logger.log('warn', 'rebalancing.try_failed', fields);
    return failed(move, describe(error));
  }
}

function work(
  services: MoveServices,
  move: Move,
  verb: Verb,
  options: SliceOptions,
): Promise<Result | undefined> {
  switch (verb) {
    case 'move':
      return carryOver(services, move, options);
    case 'cancel':
      return takeBack(services, move, options);
    case 'purge':
      return purge(services, move, options);
    default:
      return assertNever(verb);
  }
}

async function mayStep(services: MoveServices, options: SliceOptions): Promise<boolean> {
  return services.clock.monotonicMs() < options.endsAtMs && (await options.mayGoOn());
}

function stepMs(services: MoveServices, options: SliceOptions): number {
  const leftMs = options.endsAtMs - services.clock.monotonicMs();
  return Math.max(1, Math.min(STEP_MS, leftMs));
}

async function carryOver(
  services: MoveServices,
  move: Move,
  options: SliceOptions,
): Promise<Result | undefined> {
  const progress = { begun: false, lifted: 0, cleared: 0 };
  for (;;) {
    if (!(await mayStep(services, options))) return progress.begun ? more(move) : undefined;
    await options.throttle();
    const { stallLimitMs, throttle } = options;
    const sliceMs = stepMs(services, options);
    progress.begun = true;
    const advance = await advanceMove(services, move, { sliceMs, stallLimitMs, throttle });
    const verdict = judge(move, advance);
    if (verdict.kind === 'ended') return verdict.result;
    if (verdict.kind === 'lifted') {
      progress.lifted += 1;
      if (progress.lifted === MAX_LIFTED) return failed(move, verdict.message);
    }
    if (verdict.kind === 'in-the-way') {
      progress.cleared += 1;
      if (progress.cleared > MAX_CLEARED) return failed(move, verdict.message);
      await clearTheWay(services, move, options);
    }
  }
}

type Verdict =
  | { readonly kind: 'ended'; readonly result: Result }
  | { readonly kind: 'go-on' }
  | { readonly kind: 'lifted'; readonly message: string }
  /** What an earlier run left at the target. */
  | { readonly kind: 'in-the-way'; readonly message: string };

/** What a step of the engine means for the move. Pure. */
export function judge(move: Move, advance: Advance): Verdict {
  const { bucket } = move;
  switch (advance.step) {
    case 'prepare':
      return advance.outcome.kind === 'obstacle'
        ? obstacle(move, advance.outcome.obstacle)
        : { kind: 'go-on' };
    case 'copy':
    case 'await-fence':
    case 'finish':
      return { kind: 'go-on' };
    case 'switch': {
      const { outcome } = advance;
      if (outcome.kind === 'switched') {
        const { stallMs } = outcome;
        return { kind: 'ended', result: { bucket, outcome: 'done', stallMs } };
      }
      if (outcome.kind === 'too-long') {
        const error = `Writers would wait for ${outcome.pass.forecastMs} ms, which is longer than REBALANCE_STALL_LIMIT_MS allows, also after ${outcome.pass.passes} passes.`;
        return { kind: 'ended', result: failed(move, error) };
      }
      if (outcome.kind !== 'lifted') return { kind: 'go-on' };
      const message = `The fence was lifted after ${outcome.fencedMs} ms (${outcome.reason}).`;
      return { kind: 'lifted', message };
    }
    case 'cancel':
      return advance.outcome.kind === 'cancelled'
        ? { kind: 'ended', result: { bucket, outcome: 'cancelled' } }
        : { kind: 'go-on' };
    case 'done':
      return { kind: 'ended', result: { bucket, outcome: 'done' } };
    case 'stuck':
      return obstacle(move, { kind: advance.reason });
    default:
      return assertNever(advance);
  }
}

function obstacle(move: Move, found: Obstacle): Verdict {
  switch (found.kind) {
    case 'rows-at-target':
      return found.oldCopy
        ? { kind: 'in-the-way', message: `Shard ${move.to} keeps an old copy of the bucket.` }
        : ended(
            move,
            `Shard ${move.to} has rows of the bucket in ${found.tables.join(', ')}, of which it never was told. Look at them and delete them by hand.`,
          );
    case 'target-busy':
    case 'stale-copy':
      return {
        kind: 'in-the-way',
        message: `Shard ${move.to} keeps receiving the bucket for another move.`,
      };
    case 'target-unusable':
      return ended(move, found.message);
    case 'source-not-owner':
      return ended(
        move,
        `Shard ${move.from} does not own the bucket and did not give it to ${move.to}.`,
      );
    case 'fenced-by-hand':
      return ended(move, `The bucket was fenced by hand on shard ${move.from}; lift that fence.`);
    case 'contradiction':
      return ended(
        move,
        `Shards ${move.from} and ${move.to} contradict each other about the bucket; run the verification.`,
      );
    default:
      return assertNever(found);
  }
}

/** Removes what an earlier run left at the target: an old copy, or a move that nobody goes on with. */
async function clearTheWay(
  services: MoveServices,
  move: Move,
  options: SliceOptions,
): Promise<void> {
  const { bucket } = move;
  const within = { deadlineMs: STEP_DEADLINE_MS };
  const limits = { sliceMs: stepMs(services, options), throttle: options.throttle };
  const record = await services.database.onShard(
    move.to,
    (shard) => readRecord(shard, move),
    within,
  );
  const left = record && { ...move, id: record.moveId, from: record.from };
  const outcome = left && (await cancelMove(services, left, limits));
  const fields = { moveId: move.id, bucketId: bucket, shardId: move.to };
  services.logger.log('info', 'rebalancing.clearing_target', { ...fields, cancel: outcome?.kind });
  if (outcome === undefined || outcome.kind === 'nothing-to-cancel') {
    await purgeBucket(services, { bucket, shard: move.to }, limits);
  } else if (outcome.kind === 'too-late') {
    await advanceMove(services, left ?? move, { ...limits, stallLimitMs: options.stallLimitMs });
  }
}

/** Takes back what is not decided; what is decided is finished, and stays. */
async function takeBack(
  services: MoveServices,
  move: Move,
  options: SliceOptions,
): Promise<Result | undefined> {
  const { bucket } = move;
  for (let begun = false; ; begun = true) {
    if (services.clock.monotonicMs() >= options.endsAtMs) return begun ? more(move) : undefined;
    const limits = { sliceMs: stepMs(services, options), throttle: options.throttle };
    const outcome = await cancelMove(services, move, limits);
    switch (outcome.kind) {
      case 'cancelled':
        return { bucket, outcome: 'cancelled' };
      case 'more':
        break;
      case 'too-late':
        await advanceMove(services, move, { ...limits, stallLimitMs: options.stallLimitMs });
        break;
      case 'nothing-to-cancel': {
        const { step } = await readStanding(services, move);
        if (step.kind === 'done') return { bucket, outcome: 'done' };
        if (step.kind !== 'publish') return { bucket, outcome: 'cancelled' };
        await advanceMove(services, move, { ...limits, stallLimitMs: options.stallLimitMs });
        break;
      }
      default:
        assertNever(outcome);
    }
  }
}

async function purge(
  services: MoveServices,
  move: Move,
  options: SliceOptions,
): Promise<Result | undefined> {
  const { bucket } = move;
  let rows = 0;
  for (let begun = false; ; begun = true) {
    if (services.clock.monotonicMs() >= options.endsAtMs) {
      return begun ? { bucket, outcome: 'more', rows } : undefined;
    }
    const limits = { sliceMs: stepMs(services, options), throttle: options.throttle };
    const outcome = await purgeBucket(services, { bucket, shard: move.from }, limits);
    switch (outcome.kind) {
      case 'purged':
        return { bucket, outcome: 'purged', rows: rows + outcome.rows };
      case 'more':
        rows += outcome.rows;
        break;
      case 'not-gone':
        // It came back since, and whatever is there is the bucket.
        return { bucket, outcome: 'purged', rows };
      case 'owner-unverified':
        return failed(move, 'No shard was found that owns the bucket since.');
      default:
        assertNever(outcome);
    }
  }
}

const more = ({ bucket }: Move): Result => ({ bucket, outcome: 'more' });

const ended = (move: Move, error: string): Verdict => ({
  kind: 'ended',
  result: failed(move, error),
});

function failed({ bucket }: Move, error: string): Result {
  return { bucket, outcome: 'failed', error: error.slice(0, 300) };
}

/** Only what an operator may see: the message of an error that is not ours may name hosts. */
function describe(error: unknown): string {
  if (error instanceof BugError || !(error instanceof AppError)) {
    return 'Something went wrong that should not; see the log (rebalancing.try_failed).';
  }
  return isRetryable(error) ? `${error.message} (tried again)` : error.message;
}
