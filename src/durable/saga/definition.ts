import { z } from 'zod';
import { BugError } from '../../kernel/errors.ts';
import { defineOrchestration, type OrchestrationContract } from '../contract.ts';
import type { CompensatableStep, FinalStep, StepContract } from './step.ts';
import { sagaOutcome, sagaView, type SagaOutcome, type SagaView } from './view.ts';

/** What a step's input is made from: the saga's input and what the steps before it answered, by name. */
export interface SagaSoFar<Input, Results> {
  readonly sagaId: string;
  readonly input: Input;
  readonly results: Results;
}

/** How far a saga goes before it gives up or asks for help. */
export interface SagaLimits {
  /** The pivot must be reached in this time, or the saga compensates, milliseconds. */
  readonly deadlineMs: number;
  /** Tries of one step before the pivot, the first included. */
  readonly maxAttempts: number;
  /** Waits between two tries, milliseconds: the first, the factor, the longest. */
  readonly backoff: { readonly firstMs: number; readonly factor: number; readonly maxMs: number };
  /** From this many tries on, a step that must not be given up asks for attention. */
  readonly attentionAfter: number;
}

/**
 * A shard that is away for half a minute is waited for; a caller has its answer (202) long before. With these waits
 * the deadline ends the tries after about ten of them, `maxAttempts` only after quick failures under a longer one.
 */
export const DEFAULT_LIMITS: SagaLimits = {
  deadlineMs: 60_000,
  maxAttempts: 12,
  backoff: { firstMs: 200, factor: 2, maxMs: 30_000 },
  attentionAfter: 5,
};

export type StepRole = 'compensatable' | 'pivot' | 'retriable';

/** One row of a saga's table, types erased. */
export interface SagaStep {
  readonly name: string;
  readonly role: StepRole;
  readonly contract: StepContract<unknown, unknown>;
  readonly inputOf: (soFar: SagaSoFar<unknown, Readonly<Record<string, unknown>>>) => unknown;
}

/** What starts a saga's orchestration, apart from what it carries on itself. */
export const sagaStart = z.strictObject({
  /**
   * `run`: from the first step. `recover`: after its orchestration was lost: closes the steps from the first on, goes on
   * when the pivot is done, and compensates otherwise. A lost saga is never started with `run`: a compensation of the
   * lost execution may still be on its way.
   */
  mode: z.enum(['run', 'recover']),
  input: z.unknown(),
  /** In place of the table's own deadline: the setting `SAGA_DEADLINE_MS`. */
  deadlineMs: z.int().min(1).optional(),
  /** Present when it carries on in a new execution: the runner's own state. */
  state: z.unknown().optional(),
});
export type SagaStart = z.infer<typeof sagaStart>;

/** A saga: its table, and the orchestration that runs it under the saga's id. */
export interface SagaDefinition<Input, Output> {
  readonly kind: string;
  readonly input: z.ZodType<Input>;
  readonly output: z.ZodType<Output>;
  readonly steps: readonly SagaStep[];
  readonly limits: SagaLimits;
  readonly outputOf: (soFar: SagaSoFar<unknown, Readonly<Record<string, unknown>>>) => Output;
  readonly orchestration: OrchestrationContract<SagaStart, SagaOutcome, SagaView>;
}

/** Any saga, for registries. */
export type AnySaga = SagaDefinition<never, unknown> | SagaDefinition<unknown, unknown>;

/**
 * A retriable step may be skipped by an operator, and has no result then: those after it may look, and must do
 * without.
 */
type Perhaps<Results, Name extends string, Output> = Results & {
  readonly [name in Name]?: Output;
};
type NewName<Name extends string, Results> = Name extends keyof Results ? never : Name;
type With<Results, Name extends string, Output> = Results & Readonly<Record<Name, Output>>;

/** Before the pivot: steps with compensations, then the pivot. */
export interface SagaHead<Input, Output, Results> {
  compensatable<Name extends string, StepInput, StepOutput>(
    name: NewName<Name, Results>,
    step: CompensatableStep<StepInput, StepOutput>,
    inputOf: (soFar: SagaSoFar<Input, Results>) => NoInfer<StepInput>,
  ): SagaHead<Input, Output, With<Results, Name, StepOutput>>;
  pivot<Name extends string, StepInput, StepOutput>(
    name: NewName<Name, Results>,
    step: FinalStep<StepInput, StepOutput>,
    inputOf: (soFar: SagaSoFar<Input, Results>) => NoInfer<StepInput>,
  ): SagaTail<Input, Output, With<Results, Name, StepOutput>>;
}

/** After the pivot: steps that are repeated until they are done, then the answer. */
export interface SagaTail<Input, Output, Results> {
  retriable<Name extends string, StepInput, StepOutput>(
    name: NewName<Name, Results>,
    step: FinalStep<StepInput, StepOutput>,
    inputOf: (soFar: SagaSoFar<Input, Results>) => NoInfer<StepInput>,
  ): SagaTail<Input, Output, Perhaps<Results, Name, StepOutput>>;
  /** What the saga answers when it is completed. */
  returns(
    outputOf: (soFar: SagaSoFar<Input, Results>) => NoInfer<Output>,
  ): SagaDefinition<Input, Output>;
}

/**
 * Begins the table of a saga. Its rows come in the one order that works (compensatable steps, the pivot, retriable
 * steps, the answer), each typed by the results before it; anything else does not compile.
 */
export function defineSaga<Input, Output>(facts: {
  /** As callers and operators name it: kebab-case. */
  readonly kind: string;
  readonly input: z.ZodType<Input>;
  readonly output: z.ZodType<Output>;
  readonly limits?: SagaLimits;
}): SagaHead<Input, Output, unknown> {
  const limits = facts.limits ?? DEFAULT_LIMITS;
  requireSound(facts.kind, limits);
  const steps: SagaStep[] = [];
  const add = (role: StepRole) => (name: string, contract: unknown, inputOf: unknown) => {
    requireStepName(facts.kind, name, steps);
    // The builder's own types have checked that contract and input fit; the table holds them erased.
    steps.push({ name, role, contract, inputOf } as SagaStep);
    return builder;
  };
  const builder = {
    compensatable: add('compensatable'),
    pivot: add('pivot'),
    retriable: add('retriable'),
    returns: (outputOf: unknown) => ({
      kind: facts.kind,
      input: facts.input,
      output: facts.output,
      steps,
      limits,
      outputOf,
      orchestration: defineOrchestration({
        name: `saga-${facts.kind}`,
        input: sagaStart,
        output: sagaOutcome,
        status: sagaView,
      }),
    }),
  };
  return builder as unknown as SagaHead<Input, Output, unknown>;
}

/** As the columns of ledger and journal take them. */
const KIND = /^[a-z][a-z0-9-]{0,31}$/;
const STEP_NAME = /^[a-z][a-z0-9-]{0,63}$/;
/** The ledger row by which a saga that needs no orchestration is told from one that does. */
const LOCAL = 'local';
/** The view of so many steps, an error in each, stays below the 16 KB of a custom status. */
const MAX_STEPS = 20;

function requireSound(kind: string, limits: SagaLimits): void {
  const { deadlineMs, maxAttempts, attentionAfter, backoff } = limits;
  if (!KIND.test(kind)) throw new BugError(`${JSON.stringify(kind)} is no name for a saga`);
  const sound =
    [deadlineMs, maxAttempts, attentionAfter, backoff.firstMs].every((number) => number >= 1) &&
    backoff.factor >= 1 &&
    backoff.maxMs >= backoff.firstMs;
  if (!sound) throw new BugError(`the limits of saga ${kind} are not usable`);
}

function requireStepName(kind: string, name: string, steps: readonly SagaStep[]): void {
  if (!STEP_NAME.test(name) || name === LOCAL) {
    throw new BugError(`${JSON.stringify(name)} is no name for a step of saga ${kind}`);
  }
  if (steps.some((step) => step.name === name)) {
    throw new BugError(`saga ${kind} has two steps called ${name}`);
  }
  if (steps.length >= MAX_STEPS) throw new BugError(`saga ${kind} has over ${MAX_STEPS} steps`);
}
