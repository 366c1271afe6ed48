import { z } from 'zod';
import { defineActivity } from '../contract.ts';
import { sagaOutcome, sagaView } from './view.ts';

/**
 * Writes down how a saga stands, where it can be found without its orchestration: when it starts to compensate, when
 * it needs attention, when an operator's word was followed, when it ended. Idempotent; an ended saga stays ended.
 */
export const recordSaga = defineActivity({
  name: 'saga-record',
  input: z.strictObject({
    sagaId: z.string(),
    view: sagaView,
    outcome: sagaOutcome.optional(),
    /** An audit entry that was followed or refused. */
    verb: z.object({ entry: z.string(), state: z.enum(['applied', 'refused']) }).optional(),
  }),
  output: z.null(),
  // The runner repeats it: a journal whose shard is away must hold up no step.
  retry: { firstIntervalMs: 1, backoff: 1, maxIntervalMs: 1, maxAttempts: 1 },
});

/** An operator's word, as an external event of this name: the runner takes it while it waits between two tries. */
export const OPERATOR_EVENT = 'operator';
export const OPERATOR_VERBS = ['retry', 'skip', 'compensate'] as const;
export type OperatorVerb = (typeof OPERATOR_VERBS)[number];

export const operatorEvent = z.object({
  verb: z.enum(OPERATOR_VERBS),
  /** The audit entry that tells what became of it. */
  entry: z.string(),
  /** For `skip`: the step that is meant; refused when the saga is at another one by then. */
  step: z.string().optional(),
});
export type OperatorEvent = z.infer<typeof operatorEvent>;
