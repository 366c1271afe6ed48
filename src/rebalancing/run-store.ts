import { z } from 'zod';
import type { Services } from '../services.ts';
import { changeDocument, createCurrentRun, readDocument } from '../storage/run-documents.ts';
import type { CurrentRun, Versioned } from '../storage/run-documents.ts';
import { runStateSchema, storedPlanSchema, wishSchema } from './run-model.ts';
import type { RunState, StoredPlan, Wish } from './run-model.ts';

/**
 * The blobs of rebalances, container `control`:
 *
 * - `rebalances/current.json`       the run that was accepted last: whoever changes it has the cluster for its own run
 * - `rebalances/plans/<hash>.json`  plans that were shown, for approval by their hash; deleted after a day
 * - `rebalances/<id>/plan.json`     what the run does; written once
 * - `rebalances/<id>/state.json`    how far it is; compare-and-set, one round after the other
 * - `rebalances/<id>/wish.json`     what an operator wants: run, pause, cancel; compare-and-set
 */
const CURRENT = 'rebalances/current.json';
/** What the names of shown plans begin with. */
export const SHOWN_PLANS = 'rebalances/plans/';
const planBlob = (hash: string): string => `${SHOWN_PLANS}${hash}.json`;
const runPlanBlob = (id: string): string => `rebalances/${id}/plan.json`;
const stateBlob = (id: string): string => `rebalances/${id}/state.json`;
const wishBlob = (id: string): string => `rebalances/${id}/wish.json`;

const currentSchema = z.strictObject({ rebalanceId: z.string() });

/** All calls throw `storage-unavailable` (retryable) when the account does not answer. */
export interface RunStore {
  readonly current: CurrentRun;
  readPlan(hash: string): Promise<StoredPlan | undefined>;
  writePlan(plan: StoredPlan): Promise<void>;
  /** Plan and first state of a run; nobody knows of it before it is claimed. */
  createRun(id: string, plan: StoredPlan, state: RunState): Promise<void>;
  readRunPlan(id: string): Promise<StoredPlan | undefined>;
  readState(id: string): Promise<Versioned<RunState> | undefined>;
  /** False when the state is another by now. */
  replaceState(id: string, state: RunState, etag: string): Promise<boolean>;
  readWish(id: string): Promise<Wish>;
  /** `decide` gives the new wish, or undefined to leave it; gives the wish as it is then. */
  changeWish(id: string, decide: (wish: Wish) => Wish | undefined): Promise<Wish>;
}

export function createRunStore(services: Pick<Services, 'control'>): RunStore {
  const { control } = services;
  const read = <T>(name: string, schema: z.ZodType<T>) => readDocument(control, name, schema);
  return {
    current: createCurrentRun(control, {
      name: CURRENT,
      field: 'rebalanceId',
      schema: currentSchema,
    }),
    readPlan: async (hash) => (await read(planBlob(hash), storedPlanSchema))?.value,
    writePlan: async (plan) => {
      // Two goals may have one plan: the goal that was shown last is the one to be approved.
      await changeDocument(control, planBlob(plan.plan.planHash), storedPlanSchema, () => plan);
    },
    createRun: async (id, plan, state) => {
      await control.swap(runPlanBlob(id), JSON.stringify(plan), undefined);
      await control.swap(stateBlob(id), JSON.stringify(state), undefined);
    },
    readRunPlan: async (id) => (await read(runPlanBlob(id), storedPlanSchema))?.value,
    readState: (id) => read(stateBlob(id), runStateSchema),
    replaceState: async (id, state, etag) =>
      (await control.swap(stateBlob(id), JSON.stringify(state), etag)) !== undefined,
    readWish: async (id) => (await read(wishBlob(id), wishSchema))?.value.wish ?? 'run',
    changeWish: async (id, decide) => {
      const changed = await changeDocument(control, wishBlob(id), wishSchema, (found) => {
        const wish = found?.wish ?? 'run';
        const next = decide(wish);
        return next === undefined || next === wish ? undefined : { wish: next };
      });
      return changed?.wish ?? 'run';
    },
  };
}
