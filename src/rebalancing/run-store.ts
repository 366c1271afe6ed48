import { z } from 'zod';
import { BugError, RetryableError } from '../kernel/errors.ts';
import type { Services } from '../services.ts';
import { runStateSchema, storedPlanSchema, wishSchema } from './run-model.ts';
import type { RunState, StoredPlan, Wish } from './run-model.ts';

/**
 * The blobs of rebalances, container `control`:
 *
 * - `rebalances/current.json`       the run that was accepted last: whoever changes it has the cluster for its own run
 * - `rebalances/plans/<hash>.json`  plans that were shown, for approval by their hash
 * - `rebalances/<id>/plan.json`     what the run does; written once
 * - `rebalances/<id>/state.json`    how far it is; compare-and-set, one round after the other
 * - `rebalances/<id>/wish.json`     what an operator wants: run, pause, cancel; compare-and-set
 */
const CURRENT = 'rebalances/current.json';
const planBlob = (hash: string): string => `rebalances/plans/${hash}.json`;
const runPlanBlob = (id: string): string => `rebalances/${id}/plan.json`;
const stateBlob = (id: string): string => `rebalances/${id}/state.json`;
const wishBlob = (id: string): string => `rebalances/${id}/wish.json`;

const currentSchema = z.strictObject({ rebalanceId: z.string() });

/** Others change a blob for milliseconds; more rounds mean that something is wrong. */
const ROUNDS = 20;

export interface Versioned<T> {
  readonly value: T;
  readonly etag: string;
}

/** All calls throw `storage-unavailable` (retryable) when the account does not answer. */
export interface RunStore {
  /** The run accepted last, with the version to replace; undefined when there never was one. */
  readCurrent(): Promise<Versioned<string> | undefined>;
  /** Makes `id` the current run after the version `etag` (undefined: the first). False when somebody was faster. */
  claimCurrent(id: string, etag: string | undefined): Promise<boolean>;
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
  const read = async <T>(name: string, schema: z.ZodType<T>): Promise<Versioned<T> | undefined> => {
    const stored = await control.read(name);
    if (stored === undefined) return undefined;
    if (stored === 'unchanged') throw new BugError('a read without a condition was conditional');
    return { value: schema.parse(JSON.parse(stored.text)), etag: stored.etag };
  };
  const readWish = async (id: string): Promise<{ wish: Wish; etag: string | undefined }> => {
    const found = await read(wishBlob(id), wishSchema);
    return { wish: found?.value.wish ?? 'run', etag: found?.etag };
  };
  return {
    readCurrent: async () => {
      const found = await read(CURRENT, currentSchema);
      return found && { value: found.value.rebalanceId, etag: found.etag };
    },
    claimCurrent: async (id, etag) =>
      (await control.swap(CURRENT, JSON.stringify({ rebalanceId: id }), etag)) !== undefined,
    readPlan: async (hash) => (await read(planBlob(hash), storedPlanSchema))?.value,
    writePlan: async (plan) => {
      const name = planBlob(plan.plan.planHash);
      for (let round = 1; round <= ROUNDS; round += 1) {
        // Two goals may have one plan: the goal that was shown last is the one to be approved.
        const etag = (await read(name, storedPlanSchema))?.etag;
        if ((await control.swap(name, JSON.stringify(plan), etag)) !== undefined) return;
      }
      throw new RetryableError('conflict', 'Others ask for this plan all the time.');
    },
    createRun: async (id, plan, state) => {
      await control.swap(runPlanBlob(id), JSON.stringify(plan), undefined);
      await control.swap(stateBlob(id), JSON.stringify(state), undefined);
    },
    readRunPlan: async (id) => (await read(runPlanBlob(id), storedPlanSchema))?.value,
    readState: (id) => read(stateBlob(id), runStateSchema),
    replaceState: async (id, state, etag) =>
      (await control.swap(stateBlob(id), JSON.stringify(state), etag)) !== undefined,
    readWish: async (id) => (await readWish(id)).wish,
    changeWish: async (id, decide) => {
      for (let round = 1; round <= ROUNDS; round += 1) {
        const { wish, etag } = await readWish(id);
        const next = decide(wish);
        if (next === undefined || next === wish) return wish;
        const text = JSON.stringify({ wish: next });
        if ((await control.swap(wishBlob(id), text, etag)) !== undefined) return next;
      }
      throw new RetryableError('conflict', 'Others change this rebalance all the time.');
    },
  };
}
