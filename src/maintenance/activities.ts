import { implement, type ActivityImplementation } from '../durable/implement.ts';
import type { DurableModule } from '../durable/register.ts';
import { backoffMs } from '../kernel/backoff.ts';
import { BugError, isRetryable } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Telemetry } from '../kernel/telemetry.ts';
import { ATTRIBUTES, METRICS } from '../kernel/telemetry-names.ts';
import type { Services } from '../services.ts';
import { decideOnce } from '../storage/run-documents.ts';
import { decideRound, finishRun, inspectOne, maintenanceContracts, workUnit } from './contracts.ts';
import type { MaintenanceEngine } from './engine.ts';
import type { ShardAdvice, UnitOutcome } from './model.ts';
import { maintenance } from './orchestrators.ts';
import { deleteOldRuns, writeReport } from './report.ts';
import { queueAfter } from './run-queue.ts';
import type { Result, RunState, UnitRef } from './run-model.ts';
import { nextRound } from './run-state.ts';
import { createRunStore, type RunStore } from './run-store.ts';
import { needingOf, planShard, unitsOf, type ShardPlan } from './shard-plan.ts';

export type EngineOf = (services: Services) => MaintenanceEngine;

const decideRoundActivity = implement(
  decideRound,
  (services: Services) =>
    async ({ maintenanceId, round: wanted, results }) => {
      const store = createRunStore(services);
      const rounds = {
        read: async () => required(await store.readState(maintenanceId)),
        replace: (state: RunState, etag: string) => store.replaceState(maintenanceId, state, etag),
      };
      const decided = await decideOnce(rounds, wanted, async (state, round) =>
        nextRound(state, {
          round,
          results,
          planned: await readPlanned(store, maintenanceId, results),
          wish: await store.readWish(maintenanceId),
          nowMs: services.clock.nowMs(),
        }),
      );
      const { before, state } = decided;
      if (before.status !== state.status) {
        const fields = { maintenanceId, status: state.status, units: state.units.length };
        services.logger.log('info', 'maintenance.run_changed', fields);
      }
      return { round: decided.round, next: state.next };
    },
);

/** From the blobs, so that the history stays small. */
async function readPlanned(store: RunStore, maintenanceId: string, results: readonly Result[]) {
  const planned: ReturnType<typeof unitsOf> = [];
  for (const result of results) {
    if (result.kind !== 'shard' || !result.ok) continue;
    planned.push(...unitsOf(required(await store.readPlan(maintenanceId, result.shard))));
  }
  return planned;
}

function inspectActivity(engineOf: EngineOf): ActivityImplementation<Services> {
  return implement(inspectOne, (services: Services) => {
    const engine = engineOf(services);
    return async ({ maintenanceId, shard }) => {
      const store = createRunStore(services);
      const state = required(await store.readState(maintenanceId)).value;
      if ((await store.readPlan(maintenanceId, shard)) === undefined) {
        const queue = await store.readQueue(shard);
        let seen;
        try {
          seen = await lookAt(engine, services, shard, state);
        } catch (error) {
          services.logger.log('warn', 'maintenance.shard_away', {
            shardId: shard,
            ...errorFields(error),
          });
          return { kind: 'shard', shard, ok: false, error: whyAway(error) } as const;
        }
        const windowMs = state.windowEndsAtMs - state.startedAtMs;
        const plan = planShard({ ...seen, queue, windowMs, tables: state.tables });
        await store.settlePlan(maintenanceId, plan);
      }
      return { kind: 'shard', shard, ok: true } as const;
    };
  });
}

async function lookAt(
  engine: MaintenanceEngine,
  { logger }: Pick<Services, 'logger'>,
  shard: ShardId,
  { tables, force, dryRun }: Pick<RunState, 'tables' | 'force' | 'dryRun'>,
) {
  const options = { tables: tables ?? undefined, force, remember: !dryRun };
  const inspection = await engine.inspect(shard, options);
  const needing = inspection.tables.flatMap(({ figures: { table }, decision: { action } }) =>
    action === 'none' ? [] : [{ table, action }],
  );
  const past = await engine.past(shard, needing);
  let advice: ShardAdvice;
  try {
    advice = await engine.advise(shard);
  } catch (error) {
    // A remark for people must not keep a table from its work.
    logger.log('warn', 'maintenance.advice_missing', { shardId: shard, ...errorFields(error) });
    const notes = ['The indexes could not be looked at.'];
    advice = { shard, advice: [], leftOut: 0, notes };
  }
  return { inspection, past, advice };
}

/** The message of an error that is not ours may name hosts. */
function whyAway(error: unknown): string {
  return isRetryable(error)
    ? 'The shard does not answer at the moment.'
    : 'The shard could not be looked at; the log of the app says why.';
}

/** Of the window: a statement that was believed to fit may take so much longer before it is ended. */
const OVERRUN_SHARE = 0.5;

function workActivity(engineOf: EngineOf): ActivityImplementation<Services> {
  return implement(workUnit, (services: Services) => {
    const engine = engineOf(services);
    return async ({ maintenanceId, unit }) => {
      const store = createRunStore(services);
      const state = required(await store.readState(maintenanceId)).value;
      const plan = required(await store.readPlan(maintenanceId, unit.shard));
      const planned = required(plan.tables.find(({ table }) => table === unit.table));
      if (planned.attempt >= unit.attempt && planned.outcome !== null) {
        return resultOf(planned.outcome);
      }
      const { startedAtMs, windowEndsAtMs, force, by } = state;
      await services.probe.reach('maintenance.beforeUnit', `${unit.shard}/${unit.table}`);
      const outcome = await engine.runUnit({
        shard: unit.shard,
        table: unit.table,
        decision: planned.decision,
        runId: maintenanceId,
        by,
        untilMs: Math.round(windowEndsAtMs + (windowEndsAtMs - startedAtMs) * OVERRUN_SHARE),
        lockWaitMs: null,
        force,
      });
      tellUnit(services.telemetry, outcome);
      await services.probe.reach('maintenance.afterUnit', `${unit.shard}/${unit.table}`);
      await keepOutcome(services, store, { maintenanceId, unit, outcome });
      return resultOf(outcome);
    };
  });
}

function tellUnit(telemetry: Telemetry, outcome: UnitOutcome): void {
  if (!telemetry.enabled) return;
  const unit = { [ATTRIBUTES.shard]: outcome.shard, [ATTRIBUTES.action]: outcome.action };
  telemetry.histogram(METRICS.maintenanceDuration).record(outcome.durationMs, unit);
  const attributes = { ...unit, [ATTRIBUTES.outcome]: outcome.status };
  telemetry.counter(METRICS.maintenanceUnits).add(1, attributes);
}

const KEEP_BACKOFF = { firstMs: 500, factor: 2, maxMs: 10_000 };
const KEEP_TRIES = 12;

/** A unit that was done and not written down would be begun again: the account is given a minute and a half first. */
async function keepOutcome(
  { clock, random }: Pick<Services, 'clock' | 'random'>,
  store: RunStore,
  kept: {
    readonly maintenanceId: string;
    readonly unit: UnitRef;
    readonly outcome: UnitOutcome;
  },
): Promise<void> {
  const { maintenanceId, unit, outcome } = kept;
  for (let tries = 1; ; tries += 1) {
    try {
      await store.changePlan(maintenanceId, unit.shard, (plan) => withOutcome(plan, unit, outcome));
      return;
    } catch (error) {
      if (tries === KEEP_TRIES || !isRetryable(error)) throw error;
      await clock.sleep(backoffMs(KEEP_BACKOFF, tries, random));
    }
  }
}

function withOutcome(plan: ShardPlan, { table, attempt }: UnitRef, outcome: UnitOutcome) {
  return {
    ...plan,
    tables: plan.tables.map((entry) =>
      entry.table === table && entry.attempt <= attempt ? { ...entry, attempt, outcome } : entry,
    ),
  };
}

function resultOf({ shard, table, status, code, retry, durationMs }: UnitOutcome): Result {
  return { kind: 'unit', shard, table, status, code, retry, durationMs };
}

function finishActivity(engineOf: EngineOf): ActivityImplementation<Services> {
  return implement(finishRun, (services: Services) => {
    const engine = engineOf(services);
    return async ({ maintenanceId }) => {
      const store = createRunStore(services);
      const { value: state } = required(await store.readState(maintenanceId));
      for (const { shard, state: at } of state.dryRun ? [] : state.shards) {
        const plan = await store.readPlan(maintenanceId, shard);
        const needing = plan === undefined ? undefined : needingOf(plan);
        const run = { runId: maintenanceId, state, shard };
        await store.changeQueue(shard, (queue) => queueAfter(queue, run, needing));
        if (at === 'inspected') await purgeLog(engine, services, shard);
      }
      await writeReport(services, store, maintenanceId, state);
      await deleteOldRuns(services);
      return { kind: 'finished' } as const;
    };
  });
}

/** What cannot be deleted tonight is deleted another night. */
async function purgeLog(
  engine: MaintenanceEngine,
  { logger }: Pick<Services, 'logger'>,
  shard: ShardId,
): Promise<void> {
  try {
    await engine.purgeLog(shard);
  } catch (error) {
    logger.log('warn', 'maintenance.log_unpurged', { shardId: shard, ...errorFields(error) });
  }
}

/** What was stored before the run was started, or by an earlier step. */
function required<T>(value: T | undefined): T {
  if (value === undefined) throw new BugError('a document of the maintenance is missing');
  return value;
}

/** What the slice brings to `registerDurable`. */
export function maintenanceDurable(engineOf: EngineOf): DurableModule<Services> {
  return {
    contracts: maintenanceContracts,
    activities: [
      decideRoundActivity,
      inspectActivity(engineOf),
      workActivity(engineOf),
      finishActivity(engineOf),
    ],
    orchestrations: [maintenance],
  };
}
