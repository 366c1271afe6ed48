import { z } from 'zod';
import {
  defineSaga,
  type SagaDefinition,
  type SagaLimits,
  type SagaStep,
  type StepRole,
} from '../../../src/durable/saga/definition.ts';
import { implement, type ActivityImplementation } from '../../../src/durable/implement.ts';
import { recordSaga } from '../../../src/durable/saga/record.ts';
import {
  defineCompensatableStep,
  defineStep,
  type StepAnswer,
  type StepDelivery,
} from '../../../src/durable/saga/step.ts';
import type { SagaOutcome, SagaView } from '../../../src/durable/saga/view.ts';
import { PermanentError } from '../../../src/kernel/errors.ts';
import type { BoundActivity } from '../../support/drive-orchestrator.ts';

/** What happens to one delivery of a step. `park`: it fails for its caller and has its effect later, at any time. */
export const FAULTS = [
  'refuse',
  'fail-before',
  'fail-after',
  'throw-before',
  'throw-after',
  'twice',
  'park',
] as const;
export type Fault = (typeof FAULTS)[number] | 'ok';

/** Faults of the deliveries of each step and verb (`a/run`), in their order; none left: all goes well. */
export type Plan = Readonly<Record<string, readonly Fault[]>>;

type Recorded = Parameters<typeof recordSaga.input.parse>[0];
interface Row {
  state: 'done' | 'undone' | 'sealed';
  readonly value: unknown;
}

/** Steps' effects and the ledger before them, in memory, as `src/sagas/ledger.ts` keeps them. */
export class SagaWorld {
  readonly ledger = new Map<string, Row>();
  /** How often each step's effect is there: must only ever be 0 or 1. */
  readonly effects = new Map<string, number>();
  /** What was committed, in order. */
  readonly log: string[] = [];
  readonly abandoned = new Set<string>();
  readonly records: {
    view: SagaView;
    outcome?: SagaOutcome;
    verb?: { readonly entry: string; readonly state: string };
  }[] = [];
  readonly problems: string[] = [];
  deliveries = 0;
  recordFaults = 0;
  readonly #left: Map<string, Fault[]>;
  readonly #inputs = new Map<string, string>();
  #parked: StepDelivery[] = [];
  #nonce = 0;

  readonly #valueOf: (step: string, nonce: number) => unknown;

  constructor(
    plan: Plan,
    valueOf: (step: string, nonce: number) => unknown = (step, nonce) => ({
      token: `${step}-${nonce}`,
    }),
  ) {
    this.#valueOf = valueOf;
    this.#left = new Map(Object.entries(plan).map(([key, faults]) => [key, [...faults]]));
  }

  /** Lets what was parked happen now. */
  release(): void {
    const parked = this.#parked;
    this.#parked = [];
    for (const delivery of parked) this.#commit(delivery, false);
  }

  activities(saga: { readonly steps: readonly SagaStep[] }): Record<string, BoundActivity> {
    const bound: ActivityImplementation<SagaWorld>[] = saga.steps.map(({ contract }) =>
      implement(contract.activity, (world: SagaWorld) => async (delivery) => {
        return world.#deliver(delivery);
      }),
    );
    const record = implement(recordSaga, (world: SagaWorld) => async (state) => {
      world.#record(state as Recorded);
      return null;
    });
    return Object.fromEntries(
      [...bound, record].map((activity) => [activity.contract.name, activity.bind(this)]),
    );
  }

  effectOf(step: string): number {
    return this.effects.get(step) ?? 0;
  }

  #record(state: Recorded): void {
    if (this.recordFaults > 0) {
      this.recordFaults--;
      throw new Error('the journal is away');
    }
    this.records.push(state as (typeof this.records)[number]);
  }

  #deliver(delivery: StepDelivery): StepAnswer {
    this.deliveries++;
    this.#checkInput(delivery);
    const { step, verb } = delivery;
    const fault = this.#left.get(`${step}/${verb}`)?.shift() ?? 'ok';
    switch (fault) {
      case 'ok':
        return this.#commit(delivery, false);
      case 'refuse':
        return this.#commit(delivery, true);
      case 'fail-before':
        return FAILED;
      case 'fail-after':
        this.#commit(delivery, false);
        return FAILED;
      case 'throw-before':
        throw new Error('host-7 died');
      case 'throw-after':
        this.#commit(delivery, false);
        throw new Error('host-7 died');
      case 'twice':
        this.#commit(delivery, false);
        return this.#commit(delivery, false);
      case 'park':
        this.#parked.push(delivery);
        return FAILED;
      default:
        throw new Error(`no such fault: ${String(fault satisfies never)}`);
    }
  }

  /** One delivery's transaction. `refuse`: the domain says no where it is asked. */
  #commit(delivery: StepDelivery, refuse: boolean): StepAnswer {
    const { step, verb } = delivery;
    const row = this.ledger.get(step);
    switch (verb) {
      case 'run':
        if (row !== undefined) return answerOf(row);
        if (refuse) return { kind: 'refused', error: REFUSAL };
        return this.#run(step);
      case 'seal':
        if (row !== undefined) return answerOf(row);
        this.#close(step, 'sealed');
        return { kind: 'sealed' };
      case 'undo':
      case 'abandon':
        if (row?.state === 'sealed') return { kind: 'undone' };
        if (row?.state === 'done' && verb === 'undo') {
          if (refuse) return { kind: 'refused', error: REFUSAL };
          this.#change(step, -1);
          this.log.push(`undo ${step}`);
        }
        if (row?.state === 'done' && verb === 'abandon') this.abandoned.add(step);
        this.#close(step, 'undone');
        return { kind: 'undone' };
      default:
        throw new Error(`no such verb: ${String(verb satisfies never)}`);
    }
  }

  #run(step: string): StepAnswer {
    this.#change(step, 1);
    this.log.push(`run ${step}`);
    const value = this.#valueOf(step, ++this.#nonce);
    this.ledger.set(step, { state: 'done', value });
    return { kind: 'done', value, replayed: false };
  }

  #close(step: string, state: 'undone' | 'sealed'): void {
    const row = this.ledger.get(step);
    this.ledger.set(step, { state, value: row?.value });
  }

  #change(step: string, by: 1 | -1): void {
    const now = this.effectOf(step) + by;
    this.effects.set(step, now);
    if (now !== 0 && now !== 1) this.problems.push(`${step} has its effect ${now} times`);
  }

  /** All deliveries of a step must bring the same input: its compensation and its bucket depend on it. */
  #checkInput({ step, input, verb }: StepDelivery): void {
    const text = JSON.stringify(input);
    const before = this.#inputs.get(step);
    this.#inputs.set(step, before ?? text);
    if (before !== undefined && before !== text) {
      this.problems.push(`${step}/${verb} got ${text}, before ${before}`);
    }
  }
}

export const FAILED = {
  kind: 'failed',
  error: { code: 'shard-unavailable', message: 'The shard does not answer.' },
} as const;
export const REFUSAL = { code: 'email-taken', message: 'That is taken.' };

function answerOf(row: Row): StepAnswer {
  return row.state === 'done'
    ? { kind: 'done', value: row.value, replayed: true }
    : { kind: row.state };
}

interface LooseBuilder {
  compensatable(name: string, step: unknown, inputOf: unknown): LooseBuilder;
  pivot(name: string, step: unknown, inputOf: unknown): LooseBuilder;
  retriable(name: string, step: unknown, inputOf: unknown): LooseBuilder;
  returns(outputOf: unknown): SagaDefinition<unknown, unknown>;
}

const token = z.object({ token: z.string() });
type Tokens = Readonly<Record<string, { readonly token: string } | undefined>>;

/**
 * A saga of `before` compensatable and `after` retriable steps. Each step's input is made of the results of all steps
 * before it, up to the pivot.
 */
export function sagaOf(
  { before, after }: { readonly before: number; readonly after: number },
  limits: Partial<SagaLimits> = {},
): SagaDefinition<unknown, unknown> {
  const input = z.object({ seen: z.array(z.string()) });
  const names = [
    ...Array.from({ length: before }, (_, at) => `c${at + 1}`),
    'pivot',
    ...Array.from({ length: after }, (_, at) => `r${at + 1}`),
  ];
  let builder = defineSaga({
    kind: 'test',
    input: z.unknown(),
    output: z.unknown(),
    limits: { ...QUICK, ...limits },
  }) as unknown as LooseBuilder;
  names.forEach((name, at) => {
    const role: StepRole = at < before ? 'compensatable' : at === before ? 'pivot' : 'retriable';
    const define = role === 'compensatable' ? defineCompensatableStep : defineStep;
    const contract = define({ name: `test-${name}`, input, output: token });
    const known = names.slice(0, Math.min(at, before + 1));
    builder = builder[role](name, contract, ({ results }: { results: Tokens }) => ({
      seen: known.map((earlier) => tokenOf(results, earlier)),
    }));
  });
  return builder.returns(({ results }: { results: Tokens }) => tokenOf(results, 'pivot'));
}

function tokenOf(results: Tokens, name: string): string {
  const result = results[name];
  if (result === undefined) throw new PermanentError('internal', `no result of ${name}`);
  return result.token;
}

export const QUICK: SagaLimits = {
  deadlineMs: 10_000_000,
  maxAttempts: 3,
  backoff: { firstMs: 100, factor: 2, maxMs: 5_000 },
  attentionAfter: 3,
};
