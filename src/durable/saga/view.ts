import { z } from 'zod';
import { stepError } from './step.ts';

/** How a saga stands. */
export const SAGA_STATUSES = ['running', 'compensating', 'completed', 'compensated'] as const;
export type SagaStatus = (typeof SAGA_STATUSES)[number];

/**
 * How a step stands. `skipped`: an operator gave it (or its compensation) up. `unneeded`: closed before it ran.
 */
export const STEP_STATES = [
  'pending',
  'running',
  'done',
  'failed',
  'undoing',
  'undone',
  'unneeded',
  'skipped',
] as const;

/** One step as callers and operators see it. */
export const stepView = z.object({
  name: z.string(),
  state: z.enum(STEP_STATES),
  /** Tries of what it is at: of the step, and once it is being undone, of its compensation. */
  attempts: z.int().min(0),
  lastError: stepError.optional(),
});
export type StepView = z.infer<typeof stepView>;

/** The custom status of a saga's orchestration. */
export const sagaView = z.object({
  kind: z.string(),
  status: z.enum(SAGA_STATUSES),
  /** True when it does not get on: retried many times, somebody should look. */
  attention: z.boolean(),
  steps: z.array(stepView),
});
export type SagaView = z.infer<typeof sagaView>;

/** How a saga ended. */
export const sagaOutcome = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('completed'), value: z.unknown() }),
  /** `error` is why; nothing of the saga can be seen any more. */
  z.object({ kind: z.literal('compensated'), error: stepError }),
]);
export type SagaOutcome = z.infer<typeof sagaOutcome>;
