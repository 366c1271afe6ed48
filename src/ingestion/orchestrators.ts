import { call } from '../durable/call.ts';
import {
  continueAsNew,
  nowMs,
  setStatus,
  sleepFor,
  type Continued,
  type OrchestratorContext,
  type Steps,
} from '../durable/context.ts';
import { beginActivity, beginSub, settleTogether, type Outcome } from '../durable/fan-out.ts';
import { implementOrchestration } from '../durable/implement.ts';
import { AppError, PermanentError } from '../kernel/errors.ts';
import {
  finishBatch,
  ingestOrchestration,
  laneInstanceId,
  laneOrchestration,
  partitionBatch,
  writeChunk,
  type ChunkResult,
  type LaneState,
  type Progress,
} from './contracts.ts';
import { afterChunk, isStuck, lanePauseMs, planLanes, segmentWork, takeNext } from './lanes.ts';
import { NO_COUNTS, START, addCounts, type Counts, type Failure } from './model.ts';

/** Steps after which an ingestion begins a new history, and chunks after which a lane does. */
const STEPS_PER_EXECUTION = 16;
const CHUNKS_PER_EXECUTION = 50;

const BEGINNING: Progress = { step: 0, next: START, received: 0, work: [], counts: NO_COUNTS };

/**
 * Cuts the input segment by segment, while lanes write the chunks of the segments before: partition | partition, lanes
 * | … | lanes | sum. A failure is summed up too, so that what was done is told.
 */
export const ingest = implementOrchestration(ingestOrchestration, function* (ctx, input): Steps<
  Counts | Continued
> {
  const { ingestionId } = input;
  let progress = input.progress ?? BEGINNING;
  try {
    const endsAt = progress.step + STEPS_PER_EXECUTION;
    while (progress.failure === undefined && isUnfinished(progress)) {
      if (progress.step >= endsAt) {
        return continueAsNew(ctx, ingestOrchestration, { ingestionId, progress });
      }
      const step = yield* takeStep(ctx, ingestionId, progress);
      if ('finished' in step) return step.finished;
      progress = step;
    }
  } catch (error) {
    progress = { ...progress, failure: describeFailure(error) };
  }
  const { received, counts, failure } = progress;
  return yield* call(ctx, finishBatch, {
    ingestionId,
    received,
    counts,
    ...(failure !== undefined && { failure }),
  });
});

function isUnfinished({ next, work }: Progress): boolean {
  return next !== null || work.length > 0;
}

type Planned = ReturnType<typeof partitionBatch.output.parse>;
type LaneOutput = ReturnType<typeof laneOrchestration.output.parse>;

/** Cuts the next segment and writes, in lanes beside it, what waits. `finished`: the batch was small, and all is done. */
function* takeStep(
  ctx: OrchestratorContext,
  ingestionId: string,
  progress: Progress,
): Steps<Progress | { readonly finished: Counts }> {
  const { step, next, limits } = progress;
  const lanes = limits === undefined ? [] : planLanes(progress.work, limits);
  const { received, counts } = progress;
  setStatus(ctx, ingestOrchestration, { received, counts, step, lanes: lanes.length });
  const cuts =
    next === null
      ? []
      : [beginActivity(ctx, partitionBatch, { ingestionId, segment: step, from: next })];
  const writes = lanes.map((state, lane) =>
    beginSub(
      ctx,
      laneOrchestration,
      {
        ingestionId,
        chunkDelayMs: limits?.chunkDelayMs ?? 0,
        giveUpMs: limits?.giveUpMs ?? 1,
        // While there is more to cut, a lane that waits for its shard must not hold up the others' next chunks.
        waits: next === null,
        state,
      },
      laneInstanceId(ingestionId, step, lane),
    ),
  );
  const [[cut], written] = yield* settleTogether(ctx, cuts, writes);
  if (cut?.ok === true && cut.value.kind === 'finished') return { finished: cut.value.counts };
  return withCut(withLanes({ ...progress, step: step + 1, work: [] }, written), step, cut);
}

/** All lanes ran at once; what they did is added up, what they hand back waits for the next step. */
function withLanes(progress: Progress, outcomes: readonly Outcome<LaneOutput>[]): Progress {
  return outcomes.reduce((sum: Progress, outcome): Progress => {
    const failure =
      sum.failure ?? (outcome.ok ? outcome.value.failure : describeFailure(outcome.error));
    const { counts = NO_COUNTS, rest = [] } = outcome.ok ? outcome.value : {};
    return {
      ...sum,
      counts: addCounts(sum.counts, counts),
      work: [...sum.work, ...rest],
      ...(failure !== undefined && { failure }),
    };
  }, progress);
}

function withCut(progress: Progress, segment: number, cut: Outcome<Planned> | undefined): Progress {
  if (cut === undefined) return progress;
  if (!cut.ok) return { ...progress, failure: progress.failure ?? describeFailure(cut.error) };
  if (cut.value.kind === 'finished') return progress;
  const { next, received, rejected, limits } = cut.value;
  return {
    ...progress,
    next,
    received: progress.received + received,
    counts: addCounts(progress.counts, { ...NO_COUNTS, rejected }),
    work: [...progress.work, ...segmentWork(segment, cut.value)],
    limits,
  };
}

/** One lane: a chunk after the other until its queue is empty. */
export const lane = implementOrchestration(laneOrchestration, function* (ctx, input): Steps<
  LaneOutput | Continued
> {
  const { ingestionId, chunkDelayMs, giveUpMs, waits } = input;
  let { state } = input;
  const endsAt = state.chunksDone + CHUNKS_PER_EXECUTION;
  for (let tries = 0; ; tries++) {
    const next = takeNext(state.queue);
    if (next === undefined) return { counts: state.counts };
    if (state.chunksDone >= endsAt || tries >= CHUNKS_PER_EXECUTION) {
      return continueAsNew(ctx, laneOrchestration, { ...input, state });
    }
    const { ref, rest } = next;
    let result: ChunkResult | undefined;
    try {
      result = yield* call(ctx, writeChunk, { ingestionId, ...ref });
    } catch (error) {
      if (error instanceof PermanentError) {
        return { counts: state.counts, failure: describeFailure(error) };
      }
    }
    state = afterChunk(state, rest, { ref, result }, nowMs(ctx));
    setStatus(ctx, laneOrchestration, { counts: state.counts, chunksDone: state.chunksDone });
    const stuck = isStuck(state);
    if (stuck && !waits) return { counts: state.counts, rest: [...state.queue] };
    if (gaveUp(state, giveUpMs, nowMs(ctx))) return { counts: state.counts, failure: GIVEN_UP };
    const pauseMs = Math.max(stuck ? lanePauseMs(state.failures) : 0, chunkDelayMs);
    if (pauseMs > 0 && state.queue.length > 0) yield* sleepFor(ctx, pauseMs);
  }
});

const GIVEN_UP: Failure = {
  code: 'shard-unavailable',
  message:
    'A shard stayed away for too long; some orders were not written. Sending the same batch under a new key is safe when every order has an id.',
};

function gaveUp(state: LaneState, giveUpMs: number, now: number): boolean {
  return state.failingSinceMs !== null && now - state.failingSinceMs >= giveUpMs;
}

/** Only what a caller may see: the message of an error that is not ours may name hosts. */
function describeFailure(error: unknown): Failure {
  return error instanceof AppError && !(error.code === 'internal')
    ? { code: error.code, message: error.message }
    : { code: 'internal', message: 'The ingestion could not be finished.' };
}
