import { call } from '../durable/call.ts';
import { continueAsNew, setStatus, sleepFor } from '../durable/context.ts';
import type { Continued, OrchestratorContext, Steps } from '../durable/context.ts';
import { fanOutSubs, valuesOf } from '../durable/fan-out.ts';
import { implementOrchestration } from '../durable/implement.ts';
import { AppError, PermanentError } from '../kernel/errors.ts';
import { dealLanes } from './chunks.ts';
import {
  checkPiece,
  findStrays,
  finishVerification,
  laneInstanceId,
  laneOrchestration,
  lookAgain,
  LOOKS,
  planVerification,
  verificationOrchestration,
} from './contracts.ts';
import type { Chunk, VerificationFailure } from './model.ts';

/** Pieces after which a lane begins a new history. */
const PIECES_PER_EXECUTION = 100;
/** How often buckets that moved are followed. More moves than this within a run are not a check's to sort out. */
const STRAY_ROUNDS = 3;
/** Calls of one look; each takes as many suspects as its time allows. */
const MAX_LOOK_CALLS = 1_000;

/** plan → a lane per shard → buckets that moved → second looks → result. A failure is stored as well. */
export const verification = implementOrchestration(
  verificationOrchestration,
  function* (ctx, { verificationId }) {
    let failure: VerificationFailure | undefined;
    try {
      yield* check(ctx, verificationId);
    } catch (error) {
      failure = describeFailure(error);
    }
    const input = { verificationId, ...(failure !== undefined && { failure }) };
    return yield* call(ctx, finishVerification, input);
  },
);

function* check(ctx: OrchestratorContext, verificationId: string): Steps<void> {
  const plan = yield* call(ctx, planVerification, { verificationId });
  const run = { verificationId, maxShardsAtOnce: plan.maxShardsAtOnce };
  let suspects = plan.suspects;
  suspects += yield* runLanes(ctx, run, 0, plan.chunks);
  for (let round = 1; plan.chunks.length > 0; round += 1) {
    const { chunks } = yield* call(ctx, findStrays, { verificationId, round });
    if (chunks.length === 0) break;
    if (round > STRAY_ROUNDS) {
      throw new PermanentError(
        'conflict',
        'Buckets kept moving from shard to shard while they were checked. Start the verification again when fewer move.',
      );
    }
    suspects += yield* runLanes(ctx, run, round, chunks);
  }
  for (let look = 1; look <= LOOKS && suspects > 0; look += 1) {
    yield* sleepFor(ctx, plan.graceMs);
    suspects = yield* lookOnce(ctx, verificationId, look);
  }
}

function* runLanes(
  ctx: OrchestratorContext,
  run: { readonly verificationId: string; readonly maxShardsAtOnce: number },
  round: number,
  chunks: readonly Chunk[],
): Steps<number> {
  if (chunks.length === 0) return 0;
  const { verificationId, maxShardsAtOnce } = run;
  const lanes = dealLanes(chunks, maxShardsAtOnce);
  if (round === 0) {
    setStatus(ctx, verificationOrchestration, { chunks: chunks.length, lanes: lanes.length });
  }
  const starts = lanes.map((own, index) => ({
    instanceId: laneInstanceId(verificationId, round, index),
    input: { verificationId, chunks: own, chunksDone: 0, cursor: null, rows: 0, suspects: 0 },
  }));
  const outcomes = yield* fanOutSubs(ctx, laneOrchestration, starts, { width: lanes.length });
  return valuesOf(outcomes).reduce((sum, lane) => sum + lane.suspects, 0);
}

/** Looks at every suspect once; gives how many are still wrong. */
function* lookOnce(ctx: OrchestratorContext, verificationId: string, look: number): Steps<number> {
  let left = 0;
  for (let calls = 0; calls < MAX_LOOK_CALLS; calls += 1) {
    const answer = yield* call(ctx, lookAgain, { verificationId, look });
    left += answer.left;
    if (!answer.more) return left;
  }
  throw new PermanentError(
    'conflict',
    'Far too much looks wrong to look at all of it twice. Start a verification of one check on one shard to see examples.',
  );
}

/** One lane: piece after piece, chunk after chunk. One that cannot be checked ends it; the run would be wrong without it. */
export const lane = implementOrchestration(laneOrchestration, function* (ctx, input): Steps<
  { chunksDone: number; rows: number; suspects: number } | Continued
> {
  let { chunksDone, cursor, rows, suspects } = input;
  for (let pieces = 0; ; pieces += 1) {
    const chunk = input.chunks[chunksDone];
    if (chunk === undefined) return { chunksDone, rows, suspects };
    if (pieces === PIECES_PER_EXECUTION) {
      const state = { chunksDone, cursor, rows, suspects };
      return continueAsNew(ctx, laneOrchestration, { ...input, ...state });
    }
    const { verificationId } = input;
    const piece = yield* call(ctx, checkPiece, { verificationId, chunk, cursor });
    rows += piece.rows;
    suspects += piece.suspects;
    cursor = piece.next;
    if (cursor === null) chunksDone += 1;
    setStatus(ctx, laneOrchestration, { chunksDone, rows });
  }
});

/** Only what a caller may see: the message of an error that is not ours may name hosts. */
function describeFailure(error: unknown): VerificationFailure {
  return error instanceof AppError && error.code !== 'internal'
    ? { code: error.code, message: error.message }
    : {
        code: 'internal',
        message:
          'The verification could not be finished: a shard or the storage account did not answer, or an answer made no sense. Nothing is known about what was not checked.',
      };
}
