import { z } from 'zod';
import type { ShardId } from '../kernel/ids.ts';
import { defineActivity, defineOrchestration } from '../durable/contract.ts';
import { MAX_SHARDS } from '../sharding/bucket-map.ts';
import { nextSchema, resultSchema, unitRefSchema } from './run-model.ts';

const maintenanceId = z.string();
const results = z.array(resultSchema);
const shard = z
  .int()
  .min(0)
  .max(MAX_SHARDS - 1) as unknown as z.ZodType<ShardId>;

/** The storage account may be away for a good part of the night; nothing is half done meanwhile. */
const PATIENT = { firstIntervalMs: 1_000, backoff: 2, maxIntervalMs: 60_000, maxAttempts: 200 };

/**
 * Takes what became of the last round into the run's state and says what is next. Idempotent: a round that was decided is
 * answered as it was decided. `round` null: whichever is next, for an orchestration that was started again.
 */
export const decideRound = defineActivity({
  name: 'maintenance-decide',
  input: z.strictObject({ maintenanceId, round: z.int().min(1).nullable(), results }),
  output: z.strictObject({ round: z.int(), next: nextSchema }),
  retry: PATIENT,
});

/**
 * Looks at one shard: figures, decisions, forecasts, advice; into a blob. Idempotent: the first plan stays. A shard that does
 * not answer is a result.
 */
export const inspectOne = defineActivity({
  name: 'maintenance-inspect',
  input: z.strictObject({ maintenanceId, shard }),
  output: resultSchema,
  retry: PATIENT,
});

/**
 * One table on one shard. May come twice: the second finds what the first has stored, or the shard's named lock taken, or
 * nothing left to do. Its own failures are results.
 */
export const workUnit = defineActivity({
  name: 'maintenance-unit',
  input: z.strictObject({ maintenanceId, unit: unitRefSchema }),
  output: resultSchema,
  retry: PATIENT,
});

/** Brings the queues up to date, writes the report and deletes old ones. Idempotent. */
export const finishRun = defineActivity({
  name: 'maintenance-finish',
  input: z.strictObject({ maintenanceId }),
  output: resultSchema,
  retry: PATIENT,
});

/** A run; its instance id is the run's id. `next` is there when it goes on in a new execution. */
export const maintenanceOrchestration = defineOrchestration({
  name: 'maintenance',
  input: z.strictObject({
    maintenanceId,
    next: z.strictObject({ round: z.int().min(1), results }).optional(),
  }),
  output: z.strictObject({ rounds: z.int() }),
  status: z.strictObject({ round: z.int(), doing: z.string() }),
});

/** External event: look at the wish now. */
export const WAKE_EVENT = 'wake';

export const maintenanceContracts = [
  decideRound,
  inspectOne,
  workUnit,
  finishRun,
  maintenanceOrchestration,
] as const;
