import { call } from '../durable/call.ts';
import { continueAsNew, eventInbox, nowMs, setStatus } from '../durable/context.ts';
import type { Continued, OrchestratorContext, Steps } from '../durable/context.ts';
import { fanOut } from '../durable/fan-out.ts';
import { implementOrchestration } from '../durable/implement.ts';
import { decideRound, rebalanceOrchestration, WAKE_EVENT, workLane } from './contracts.ts';
import type { Decision, Result } from './run-model.ts';

/** Rounds after which a new history is begun: some hundred kilobytes with the results of all lanes. */
const ROUNDS_PER_EXECUTION = 50;

/**
 * decide → work in lanes, or wait → decide … until there is nothing left. All that is known lies in the run's state: an
 * orchestration that was started again goes on where the last one was.
 */
export const rebalance = implementOrchestration(
  rebalanceOrchestration,
  function* (ctx, { rebalanceId, next }): Steps<{ rounds: number } | Continued> {
    const inbox = eventInbox(ctx, WAKE_EVENT);
    let results: readonly Result[] = next?.results ?? [];
    let wanted = next?.round ?? null;
    for (let rounds = 1; ; rounds += 1) {
      const input = { rebalanceId, round: wanted, results: [...results] };
      const { round, decision } = yield* call(ctx, decideRound, input);
      if (decision.kind === 'end') return { rounds: round };
      setStatus(ctx, rebalanceOrchestration, { round, doing: decision.kind });
      if (decision.kind === 'work') {
        results = yield* work(ctx, rebalanceId, decision);
      } else {
        results = [];
        yield* inbox.wait(nowMs(ctx) + decision.ms);
      }
      wanted = round + 1;
      if (rounds === ROUNDS_PER_EXECUTION) {
        const again = { rebalanceId, next: { round: wanted, results: [...results] } };
        return continueAsNew(ctx, rebalanceOrchestration, again);
      }
    }
  },
);

function* work(
  ctx: OrchestratorContext,
  rebalanceId: string,
  { verb, lanes }: Extract<Decision, { kind: 'work' }>,
): Steps<Result[]> {
  const inputs = lanes.map((buckets) => ({ rebalanceId, verb, buckets }));
  const outcomes = yield* fanOut(ctx, workLane, inputs, { width: Math.max(1, lanes.length) });
  return outcomes.flatMap((outcome, index): Result[] => {
    if (outcome.ok) return outcome.value.results;
    const [bucket] = lanes[index] ?? [];
    if (bucket === undefined) return [];
    // Its own failures are results: the instance that worked on it died, or the storage account was away.
    return [{ bucket, outcome: 'failed', error: 'The activity ended before it could answer.' }];
  });
}
