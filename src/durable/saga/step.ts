import { z } from 'zod';
import { defineActivity, type ActivityContract } from '../contract.ts';

/**
 * One step of a saga, apart from the code that does it: one local transaction on one shard, run by one activity.
 * The same activity takes the step back and closes it, told apart by a verb, because all of them are about the one
 * ledger row of the step.
 */
export interface StepContract<Input, Output> {
  readonly kind: 'saga-step';
  /** Name of the activity. */
  readonly name: string;
  readonly input: z.ZodType<Input>;
  /** What the step answers; recorded in the ledger and given again when it is delivered again. Small. */
  readonly output: z.ZodType<Output>;
  readonly compensatable: boolean;
  readonly activity: ActivityContract<StepDelivery, StepAnswer>;
}

/** A step that has a compensation: it may stand before the pivot. */
export interface CompensatableStep<Input, Output> extends StepContract<Input, Output> {
  readonly compensatable: true;
}

/** A step that is never taken back: the pivot, or one after it. */
export interface FinalStep<Input, Output> extends StepContract<Input, Output> {
  readonly compensatable: false;
}

/**
 * `run`: have the effect, once. `undo`: take it back; a step that never ran is closed instead, so that a late delivery
 * is refused. `seal`: close the step unless it is done, and say which; settles an unknown outcome. `abandon`: an
 * operator gives a compensation up: close the step without taking its effect back.
 */
export const STEP_VERBS = ['run', 'undo', 'seal', 'abandon'] as const;
export type StepVerb = (typeof STEP_VERBS)[number];

/** What a step's activity is given. */
export const stepDelivery = z.strictObject({
  sagaId: z.string(),
  /** The step's name in its saga's table: the key of its ledger row. */
  step: z.string(),
  verb: z.enum(STEP_VERBS),
  input: z.unknown(),
});
export type StepDelivery = z.infer<typeof stepDelivery>;

/** A failure as it travels through histories and records; holds nothing internal. */
export const stepError = z.object({
  code: z.string(),
  message: z.string(),
  problems: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
});
export type StepError = z.infer<typeof stepError>;

/**
 * What a delivery of a step found. `done`: the effect is there, now or from an earlier delivery. `undone`, `sealed`:
 * the step is closed and never runs (again). `refused`: it cannot be done, and this delivery changed nothing.
 * `failed`: it may be done later; whether this delivery had its effect may be unknown.
 */
export const stepAnswer = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('done'), value: z.unknown(), replayed: z.boolean() }),
  z.object({ kind: z.literal('undone') }),
  z.object({ kind: z.literal('sealed') }),
  z.object({ kind: z.literal('refused'), error: stepError }),
  z.object({ kind: z.literal('failed'), error: stepError }),
]);
export type StepAnswer = z.infer<typeof stepAnswer>;

interface StepDefinition<Input, Output> {
  readonly name: string;
  readonly input: z.ZodType<Input>;
  readonly output: z.ZodType<Output>;
}

/** Describes a step that has a compensation; bind its code with `implementCompensatableStep`. */
export function defineCompensatableStep<Input, Output>(
  definition: StepDefinition<Input, Output>,
): CompensatableStep<Input, Output> {
  return { ...contractOf(definition), compensatable: true };
}

/** Describes a step that is never taken back; bind its code with `implementStep`. */
export function defineStep<Input, Output>(
  definition: StepDefinition<Input, Output>,
): FinalStep<Input, Output> {
  return { ...contractOf(definition), compensatable: false };
}

function contractOf<Input, Output>(
  definition: StepDefinition<Input, Output>,
): Omit<StepContract<Input, Output>, 'compensatable'> {
  return {
    kind: 'saga-step',
    ...definition,
    activity: defineActivity({
      name: definition.name,
      input: stepDelivery,
      output: stepAnswer,
      // The runner repeats steps itself: it must see each try, and be told in between.
      retry: { firstIntervalMs: 1, backoff: 1, maxIntervalMs: 1, maxAttempts: 1 },
    }),
  };
}
