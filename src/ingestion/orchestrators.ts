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
import { fanOut, fanOutSubs, type Outcome } from '../durable/fan-out.ts';
import { implementOrchestration } from '../durable/implement.ts';
import { AppError, PermanentError } from '../kernel/errors.ts';
import {
  finishBatch,
  ingestOrchestration,
  laneInstanceId,
  laneOrchestration,
  partitionBatch,
  writeChunk,
  type ChunkRef,
  type ChunkResult,
  type LaneState,
} from './contracts.ts';
import { applyWave, lanePauseMs, planLanes, takeWave } from './lanes.ts';
import { NO_COUNTS, addCounts, type Counts, type Failure } from './model.ts';

/** Chunks after which a lane begins a new history. */
const CHUNKS_PER_EXECUTION = 50;

/** partition → a lane per shard → sum. A failure is summed up too, so that what was done is told. */
export const ingest = implementOrchestration(ingestOrchestration, function* (ctx, { ingestionId }) {
  let counts = NO_COUNTS;
  let failure: Failure | undefined;
  try {
    const planned = yield* call(ctx, partitionBatch, { ingestionId });
    if (planned.kind === 'finished') return planned.counts;
    const written = yield* writeLanes(ctx, ingestionId, planned);
    counts = addCounts({ ...NO_COUNTS, rejected: planned.rejected }, written.counts);
    failure = written.failure;
  } catch (error) {
    failure = describeFailure(error);
  }
  return yield* call(ctx, finishBatch, {
    ingestionId,
    counts,
    ...(failure !== undefined && { failure }),
  });
});

type Planned = Extract<ReturnType<typeof partitionBatch.output.parse>, { kind: 'planned' }>;

function* writeLanes(
  ctx: OrchestratorContext,
  ingestionId: string,
  planned: Planned,
): Steps<{ readonly counts: Counts; readonly failure: Failure | undefined }> {
  const { prefix, limits } = planned;
  const { width, lanes } = planLanes(planned.shards, limits);
  setStatus(ctx, ingestOrchestration, {
    received: planned.received,
    rejected: planned.rejected,
    lanes: lanes.length,
  });
  const starts = lanes.map((state, lane) => ({
    instanceId: laneInstanceId(ingestionId, lane),
    input: {
      ingestionId,
      prefix,
      width,
      chunkDelayMs: limits.chunkDelayMs,
      giveUpMs: limits.giveUpMs,
      state,
    },
  }));
  // All lanes at once: a lane that waits for its shard must not hold up another.
  const outcomes = yield* fanOutSubs(ctx, laneOrchestration, starts, {
    width: Math.max(1, starts.length),
  });
  let counts = NO_COUNTS;
  let failure: Failure | undefined;
  for (const outcome of outcomes) {
    if (outcome.ok) {
      counts = addCounts(counts, outcome.value.counts);
      failure ??= outcome.value.failure;
    } else {
      failure ??= describeFailure(outcome.error);
    }
  }
  return { counts, failure };
}

/** One lane: waves of chunks until its queue is empty. */
export const lane = implementOrchestration(laneOrchestration, function* (ctx, input): Steps<
  LaneOutput | Continued
> {
  let state = input.state;
  const endsAt = state.chunksDone + CHUNKS_PER_EXECUTION;
  for (let waves = 0; state.queue.length > 0; waves++) {
    if (state.chunksDone >= endsAt || waves >= CHUNKS_PER_EXECUTION) {
      return continueAsNew(ctx, laneOrchestration, { ...input, state });
    }
    const { wave, rest } = takeWave(state.queue, input.width);
    const outcomes = yield* fanOut(
      ctx,
      writeChunk,
      wave.map((ref) => ({ ingestionId: input.ingestionId, prefix: input.prefix, ...ref })),
      { width: input.width },
    );
    const refused = outcomes.find(isPermanent);
    state = applyWave(state, rest, zip(wave, outcomes), nowMs(ctx));
    setStatus(ctx, laneOrchestration, { counts: state.counts, chunksDone: state.chunksDone });
    if (refused !== undefined) {
      return { counts: state.counts, failure: describeFailure(refused.error) };
    }
    if (gaveUp(state, input.giveUpMs, nowMs(ctx))) {
      return { counts: state.counts, failure: GIVEN_UP };
    }
    const pauseMs = Math.max(lanePauseMs(state.failedWaves), input.chunkDelayMs);
    if (pauseMs > 0 && state.queue.length > 0) yield* sleepFor(ctx, pauseMs);
  }
  return { counts: state.counts };
});

type LaneOutput = ReturnType<typeof laneOrchestration.output.parse>;

const GIVEN_UP: Failure = {
  code: 'shard-unavailable',
  message:
    'A shard stayed away for too long; some orders were not written. Sending the same batch under a new key is safe when every order has an id.',
};

function gaveUp(state: LaneState, giveUpMs: number, now: number): boolean {
  return state.failingSinceMs !== null && now - state.failingSinceMs >= giveUpMs;
}

function zip(
  wave: readonly ChunkRef[],
  outcomes: readonly Outcome<ChunkResult>[],
): { ref: ChunkRef; result: ChunkResult | undefined }[] {
  return wave.map((ref, index) => {
    const outcome = outcomes[index];
    return { ref, result: outcome?.ok === true ? outcome.value : undefined };
  });
}

function isPermanent(
  outcome: Outcome<unknown>,
): outcome is { readonly ok: false; readonly error: PermanentError } {
  return !outcome.ok && outcome.error instanceof PermanentError;
}

/** Only what a caller may see: the message of an error that is not ours may name hosts. */
function describeFailure(error: unknown): Failure {
  return error instanceof AppError && !(error.code === 'internal')
    ? { code: error.code, message: error.message }
    : { code: 'internal', message: 'The ingestion could not be finished.' };
}
