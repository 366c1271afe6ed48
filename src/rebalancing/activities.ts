import { implement } from '../durable/implement.ts';
import type { DurableModule } from '../durable/register.ts';
import { BugError } from '../kernel/errors.ts';
import type { BucketId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import { decideOnce } from '../storage/run-documents.ts';
import { decideRound, rebalancingContracts, workLane } from './contracts.ts';
import { noteRunBegins, noteRunEnds } from './map-states.ts';
import { rebalance } from './orchestrators.ts';
import { isOver } from './run-model.ts';
import type { Result, RunState } from './run-model.ts';
import type { Telemetry } from '../kernel/telemetry.ts';
import { ATTRIBUTES, METRICS } from '../kernel/telemetry-names.ts';
import { nextRound } from './run-state.ts';
import { createRunStore } from './run-store.ts';
import type { RunStore } from './run-store.ts';
import { workOnBucket } from './slice.ts';
import { createThrottle } from './throttle.ts';

export type RebalancingServices = Services;

export const decideRoundActivity = implement(
  decideRound,
  (services: RebalancingServices) =>
    async ({ rebalanceId, round: wanted, results }) => {
      const { clock, config } = services;
      const store = createRunStore(services);
      const rounds = {
        read: async () => required(await store.readState(rebalanceId)),
        replace: (state: RunState, etag: string) => store.replaceState(rebalanceId, state, etag),
      };
      const decided = await decideOnce(rounds, wanted, async (state, round) => {
        const next = nextRound(state, {
          round,
          results,
          wish: await store.readWish(rebalanceId),
          nowMs: clock.nowMs(),
          purgeAfterMs: config.REBALANCE_PURGE_AFTER_MS,
        });
        await noteInMap(services, store, { rebalanceId, state, next });
        return next;
      });
      logRound(services, rebalanceId, decided.before, decided.state);
      return { round: decided.round, decision: decided.state.decision };
    },
);

/** Before the state says so: a crash in between repeats it. */
async function noteInMap(
  services: RebalancingServices,
  store: RunStore,
  change: {
    readonly rebalanceId: string;
    readonly state: RunState;
    readonly next: RunState;
  },
): Promise<void> {
  const { rebalanceId, state, next } = change;
  if (state.round === 0 && !isOver(next.status)) {
    await noteRunBegins(services, required(await store.readRunPlan(rebalanceId)));
  }
  if (!isOver(state.status) && isOver(next.status)) await noteRunEnds(services, next);
}

function logRound(
  { logger }: Pick<Services, 'logger'>,
  rebalanceId: string,
  before: RunState,
  after: RunState,
): void {
  if (before.status === after.status) return;
  const done = after.moves.filter((move) => move.state === 'done').length;
  const fields = { rebalanceId, status: after.status, done, moves: after.moves.length };
  logger.log('info', 'rebalancing.run_changed', fields);
}

/** A wish is noticed this fast inside an activity. */
const WISH_FRESH_MS = 1_000;

export const workLaneActivity = implement(
  workLane,
  (services: RebalancingServices) =>
    async ({ rebalanceId, verb, buckets }) => {
      const { clock, config } = services;
      const store = createRunStore(services);
      const plan = required(await store.readRunPlan(rebalanceId)).plan;
      const moveOf = (bucket: BucketId) =>
        required(plan.moves.find((move) => move.bucket === bucket));
      const first = moveOf(required(buckets[0]));
      const endsAtMs = clock.monotonicMs() + config.REBALANCE_SLICE_MS;
      const options = {
        endsAtMs,
        stallLimitMs: config.REBALANCE_STALL_LIMIT_MS,
        throttle: createThrottle(
          services,
          verb === 'purge' ? [first.from] : [first.from, first.to],
        ),
        mayGoOn: createWishCheck(services, store, rebalanceId),
      };
      const results: Result[] = [];
      for (const bucket of buckets) {
        const { from, to } = moveOf(bucket);
        const move = { id: rebalanceId, bucket, from, to };
        const result = await workOnBucket(services, move, verb, options);
        if (result === undefined) break;
        results.push(result);
        tellMove(services.telemetry, verb, result);
        if (result.outcome === 'throttled' || clock.monotonicMs() >= endsAtMs) break;
      }
      return { results };
    },
);

function tellMove(telemetry: Telemetry, action: string, { outcome, stallMs }: Result): void {
  if (!telemetry.enabled) return;
  const attributes = { [ATTRIBUTES.action]: action, [ATTRIBUTES.outcome]: outcome };
  telemetry.counter(METRICS.moves).add(1, attributes);
  if (stallMs !== undefined) telemetry.histogram(METRICS.moveStall).record(stallMs);
}

/** True while nobody wants the run to stop. */
function createWishCheck(
  { clock }: Pick<Services, 'clock'>,
  store: RunStore,
  rebalanceId: string,
): () => Promise<boolean> {
  let freshUntilMs = Number.NEGATIVE_INFINITY;
  let goesOn = true;
  return async () => {
    if (clock.monotonicMs() >= freshUntilMs) {
      goesOn = (await store.readWish(rebalanceId)) === 'run';
      freshUntilMs = clock.monotonicMs() + WISH_FRESH_MS;
    }
    return goesOn;
  };
}

/** What was stored before the run was started, or stands in its plan. */
function required<T>(value: T | undefined): T {
  if (value === undefined) throw new BugError('a document of the rebalance is missing');
  return value;
}

/** What the slice brings to `registerDurable`. */
export const rebalancingDurable: DurableModule<RebalancingServices> = {
  contracts: rebalancingContracts,
  activities: [decideRoundActivity, workLaneActivity],
  orchestrations: [rebalance],
};
