import { z } from 'zod';
import type { ShardId } from '../kernel/ids.ts';
import { BugError } from '../kernel/errors.ts';
import type { Services } from '../services.ts';
import { changeDocument, createCurrentRun, readDocument } from '../storage/run-documents.ts';
import type { CurrentRun, Versioned } from '../storage/run-documents.ts';
import { queueSchema, runStateSchema, wishSchema } from './run-model.ts';
import type { Queue, RunState, Wish } from './run-model.ts';
import { shardPlanSchema, type ShardPlan } from './shard-plan.ts';

/**
 * The blobs of maintenance, container `control`:
 *
 * - `maintenance/current.json`            the run that was accepted last: whoever changes it has the cluster
 * - `maintenance/queue/<shard>.json`      what waits on a shard from run to run (ADR 0018)
 * - `maintenance/runs/<id>/state.json`    how far a run is; compare-and-set, one round after the other
 * - `maintenance/runs/<id>/wish.json`     what an operator wants: run, cancel
 * - `maintenance/runs/<id>/<shard>.json`  what was seen, decided and done on a shard
 *
 * Container `maintenance`: `started/<time>-<id>` for the retention, `reports/<time>-<id>.ndjson`.
 */
const CURRENT = 'maintenance/current.json';
const queueBlob = (shard: ShardId): string => `maintenance/queue/${shard}.json`;
const runFolder = (id: string): string => `maintenance/runs/${id}/`;
const stateBlob = (id: string): string => `${runFolder(id)}state.json`;
const wishBlob = (id: string): string => `${runFolder(id)}wish.json`;
const planBlob = (id: string, shard: ShardId): string => `${runFolder(id)}${shard}.json`;

const currentSchema = z.strictObject({ maintenanceId: z.string() });

/** All calls throw `storage-unavailable` (retryable) when the account does not answer. */
export interface RunStore {
  readonly current: CurrentRun;
  /** First state of a run; nobody knows of it before it is claimed. */
  createRun(id: string, state: RunState): Promise<void>;
  readState(id: string): Promise<Versioned<RunState> | undefined>;
  /** False when the state is another by now. */
  replaceState(id: string, state: RunState, etag: string): Promise<boolean>;
  readWish(id: string): Promise<Wish>;
  /** Notes that the run should end. Idempotent. */
  wishCancel(id: string): Promise<void>;
  readPlan(id: string, shard: ShardId): Promise<ShardPlan | undefined>;
  /** Keeps the first plan of a shard, and gives it. */
  settlePlan(id: string, plan: ShardPlan): Promise<ShardPlan>;
  /** Changes a plan that is there. Throws `conflict` (retryable). */
  changePlan(
    id: string,
    shard: ShardId,
    change: (plan: ShardPlan) => ShardPlan,
  ): Promise<ShardPlan>;
  readQueue(shard: ShardId): Promise<Queue>;
  changeQueue(shard: ShardId, change: (queue: Queue) => Queue): Promise<void>;
}

const EMPTY_QUEUE: Queue = { formatVersion: 1, runId: null, entries: [] };

export function createRunStore({ control }: Pick<Services, 'control'>): RunStore {
  return {
    current: createCurrentRun(control, {
      name: CURRENT,
      field: 'maintenanceId',
      schema: currentSchema,
    }),
    createRun: async (id, state) => {
      await control.swap(stateBlob(id), JSON.stringify(state), undefined);
    },
    readState: (id) => readDocument(control, stateBlob(id), runStateSchema),
    replaceState: async (id, state, etag) =>
      (await control.swap(stateBlob(id), JSON.stringify(state), etag)) !== undefined,
    readWish: async (id) =>
      (await readDocument(control, wishBlob(id), wishSchema))?.value.wish ?? 'run',
    wishCancel: async (id) => {
      const cancel = { wish: 'cancel' } as const;
      await changeDocument(control, wishBlob(id), wishSchema, (found) =>
        found?.wish === 'cancel' ? undefined : cancel,
      );
    },
    readPlan: async (id, shard) =>
      (await readDocument(control, planBlob(id, shard), shardPlanSchema))?.value,
    settlePlan: async (id, plan) =>
      there(
        await changeDocument(control, planBlob(id, plan.shard), shardPlanSchema, (found) =>
          found === undefined ? plan : undefined,
        ),
      ),
    changePlan: async (id, shard, change) =>
      there(
        await changeDocument(control, planBlob(id, shard), shardPlanSchema, (found) =>
          change(there(found)),
        ),
      ),
    readQueue: async (shard) =>
      (await readDocument(control, queueBlob(shard), queueSchema))?.value ?? EMPTY_QUEUE,
    changeQueue: async (shard, change) => {
      await changeDocument(control, queueBlob(shard), queueSchema, (found) => {
        const queue = found ?? EMPTY_QUEUE;
        const next = change(queue);
        return next === queue ? undefined : next;
      });
    },
  };
}

/** What an earlier step has stored. */
function there(plan: ShardPlan | undefined): ShardPlan {
  if (plan === undefined) throw new BugError('a document of the maintenance is missing');
  return plan;
}

/** Names of all documents of a run begin with this, in the container `control`. */
export { runFolder };
