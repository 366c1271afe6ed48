import { call } from '../durable/call.ts';
import { continueAsNew, setStatus } from '../durable/context.ts';
import type { Continued, Steps } from '../durable/context.ts';
import { fanOutSubs, valuesOf } from '../durable/fan-out.ts';
import { implementOrchestration } from '../durable/implement.ts';
import { AppError } from '../kernel/errors.ts';
import { chunkAt, dealLanes } from './chunks.ts';
import {
  finishReport,
  laneInstanceId,
  laneOrchestration,
  planReport,
  reportOrchestration,
  sumChunk,
} from './contracts.ts';
import type { ReportFailure } from './contracts.ts';

/** Chunks after which a lane begins a new history. */
const CHUNKS_PER_EXECUTION = 100;

/** plan → a lane per shard → merge. A failure is stored too, so that the report's reader is told. */
export const report = implementOrchestration(reportOrchestration, function* (ctx, { reportId }) {
  let failure: ReportFailure | undefined;
  try {
    const { shards, maxShardsAtOnce } = yield* call(ctx, planReport, { reportId });
    const lanes = dealLanes(shards, maxShardsAtOnce);
    const chunks = shards.reduce((sum, shard) => sum + shard.chunks, 0);
    setStatus(ctx, reportOrchestration, { chunks, lanes: lanes.length });
    const starts = lanes.map((own, index) => ({
      instanceId: laneInstanceId(reportId, index),
      input: { reportId, shards: own, chunksDone: 0 },
    }));
    valuesOf(yield* fanOutSubs(ctx, laneOrchestration, starts, { width: lanes.length }));
  } catch (error) {
    failure = describeFailure(error);
  }
  return yield* call(ctx, finishReport, { reportId, ...(failure !== undefined && { failure }) });
});

/** One lane: chunk after chunk. A chunk that cannot be summed ends it; the report would be wrong without it. */
export const lane = implementOrchestration(laneOrchestration, function* (ctx, input): Steps<
  { chunksDone: number } | Continued
> {
  let { chunksDone } = input;
  for (let own = 0; ; own += 1) {
    const next = chunkAt(input.shards, chunksDone);
    if (next === undefined) return { chunksDone };
    if (own === CHUNKS_PER_EXECUTION) {
      return continueAsNew(ctx, laneOrchestration, { ...input, chunksDone });
    }
    yield* call(ctx, sumChunk, { reportId: input.reportId, ...next });
    chunksDone += 1;
    setStatus(ctx, laneOrchestration, { chunksDone });
  }
});

/** Only what a caller may see: the message of an error that is not ours may name hosts. */
function describeFailure(error: unknown): ReportFailure {
  return error instanceof AppError && error.code !== 'internal'
    ? { code: error.code, message: error.message }
    : {
        code: 'internal',
        message:
          'The report could not be finished: a shard or the storage account did not answer for too long. Ask for a new one.',
      };
}
