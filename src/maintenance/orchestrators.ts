import { call } from '../durable/call.ts';
import { continueAsNew, eventInbox, nowMs, setStatus } from '../durable/context.ts';
import type { Continued, OrchestratorContext, Steps } from '../durable/context.ts';
import { fanOut, type Outcome } from '../durable/fan-out.ts';
import { implementOrchestration } from '../durable/implement.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import {
  decideRound,
  finishRun,
  inspectOne,
  maintenanceOrchestration,
  WAKE_EVENT,
  workUnit,
} from './contracts.ts';
import type { Next, Result } from './run-model.ts';

/** Rounds after which a new history is begun: some hundred kilobytes at the most shards at once. */
const ROUNDS_PER_EXECUTION = 50;

/**
 * decide → look at shards, or work on tables, or wait → decide … until there is nothing left. All that is known lies in the
 * run's state: an orchestration that was started again goes on where the last one was.
 */
export const maintenance = implementOrchestration(
  maintenanceOrchestration,
  function* (ctx, { maintenanceId, next: from }): Steps<{ rounds: number } | Continued> {
    const inbox = eventInbox(ctx, WAKE_EVENT);
    let results: readonly Result[] = from?.results ?? [];
    let wanted = from?.round ?? null;
    for (let rounds = 1; ; rounds += 1) {
      const input = { maintenanceId, round: wanted, results: [...results] };
      const { round, next } = yield* call(ctx, decideRound, input);
      if (next.kind === 'end') return { rounds: round };
      setStatus(ctx, maintenanceOrchestration, { round, doing: next.kind });
      if (next.kind === 'wait') {
        results = [];
        yield* inbox.wait(nowMs(ctx) + next.ms);
      } else {
        results = yield* work(ctx, maintenanceId, next);
      }
      wanted = round + 1;
      if (rounds === ROUNDS_PER_EXECUTION) {
        const again = { maintenanceId, next: { round: wanted, results: [...results] } };
        return continueAsNew(ctx, maintenanceOrchestration, again);
      }
    }
  },
);

function* work(
  ctx: OrchestratorContext,
  maintenanceId: string,
  next: Exclude<Next, { kind: 'wait' | 'end' }>,
): Steps<Result[]> {
  switch (next.kind) {
    case 'inspect': {
      const inputs = next.shards.map((shard) => ({ maintenanceId, shard }));
      const outcomes = yield* fanOut(ctx, inspectOne, inputs, { width: inputs.length });
      return inputs.map(({ shard }, index) => {
        const error = 'The activity ended before it could answer.';
        return answerOf(outcomes[index]) ?? { kind: 'shard', shard, ok: false, error };
      });
    }
    case 'work': {
      const inputs = next.units.map((unit) => ({ maintenanceId, unit }));
      const outcomes = yield* fanOut(ctx, workUnit, inputs, { width: inputs.length });
      return inputs.map(({ unit: { shard, table } }, index) => {
        // Its own failures are results: the storage account was away for hours, or something is wrong with us.
        const lost = { kind: 'unit', shard, table, status: 'failed', code: 'abandoned' } as const;
        return answerOf(outcomes[index]) ?? { ...lost, retry: true, durationMs: 0 };
      });
    }
    case 'finish':
      return [yield* call(ctx, finishRun, { maintenanceId })];
    default:
      return assertNever(next);
  }
}

function answerOf(outcome: Outcome<Result> | undefined): Result | undefined {
  return outcome?.ok === true ? outcome.value : undefined;
}
