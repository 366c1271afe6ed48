import { z } from 'zod';
import { defineActivity, defineOrchestration } from '../durable/contract.ts';
import { bucketIdSchema, decisionSchema, resultSchema } from './run-model.ts';

const rebalanceId = z.string();
const results = z.array(resultSchema);

/** A run waits for the storage account for hours: what it does is not urgent, and half done it is in nobody's way. */
const PATIENT = { firstIntervalMs: 1_000, backoff: 2, maxIntervalMs: 60_000, maxAttempts: 500 };

/**
 * Takes what became of the last round into the run's state and says what is next. Idempotent: a round that was decided is
 * answered as it was decided. `round` null: whichever is next, for an orchestration that was started again.
 */
export const decideRound = defineActivity({
  name: 'rebalance-decide',
  input: z.strictObject({ rebalanceId, round: z.int().min(1).nullable(), results }),
  output: z.strictObject({ round: z.int(), decision: decisionSchema }),
  retry: PATIENT,
});

/**
 * Moves, takes back or purges buckets, one after the other, for a slice of time. May come twice: each step finds out from
 * the shards' own rows what is left to do. Not tried again by the runtime: what fails is tried in a later round.
 */
export const workLane = defineActivity({
  name: 'rebalance-work',
  input: z.strictObject({
    rebalanceId,
    verb: z.enum(['move', 'cancel', 'purge']),
    buckets: z.array(bucketIdSchema),
  }),
  output: z.strictObject({ results }),
  retry: { firstIntervalMs: 1_000, backoff: 1, maxIntervalMs: 1_000, maxAttempts: 1 },
});

/** A run; its instance id is the run's id. `next` is there when it goes on in a new execution. */
export const rebalanceOrchestration = defineOrchestration({
  name: 'rebalance',
  input: z.strictObject({
    rebalanceId,
    next: z.strictObject({ round: z.int().min(1), results }).optional(),
  }),
  output: z.strictObject({ rounds: z.int() }),
  status: z.strictObject({ round: z.int(), doing: z.string() }),
});

/** External event: look at the wish now. */
export const WAKE_EVENT = 'wake';

export const rebalancingContracts = [decideRound, workLane, rebalanceOrchestration] as const;
