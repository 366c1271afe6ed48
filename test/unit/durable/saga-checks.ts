import { expect } from 'vitest';
import type { SagaDefinition, SagaStep } from '../../../src/durable/saga/definition.ts';
import type { SagaOutcome } from '../../../src/durable/saga/view.ts';
import type { Random } from '../../support/random.ts';
import type { Fault, Plan, SagaWorld } from './saga-world.ts';

/** All or nothing, once, in order: what must hold of any world in which a saga has ended. */
export function expectWhole(
  saga: SagaDefinition<unknown, unknown>,
  world: SagaWorld,
  outcome: SagaOutcome,
): void {
  expect(world.problems).toEqual([]);
  const pivotDone = world.log.includes('run pivot');
  expect(outcome.kind).toBe(pivotDone ? 'completed' : 'compensated');
  const undone = world.log.filter((entry) => entry.startsWith('undo '));
  const reverse = saga.steps.map(({ name }) => `undo ${name}`).reverse();
  expect(undone).toEqual(pivotDone ? [] : reverse.filter((entry) => undone.includes(entry)));
  const effects = (of: (step: SagaStep) => number) =>
    saga.steps.map((step) => `${step.name} ${of(step)}`);
  expect(effects(({ name }) => world.effectOf(name))).toEqual(
    effects((step) =>
      pivotDone ? (wasSkipped(world, step) ? 0 : 1) : Number(wasLeft(world, step)),
    ),
  );
  expect(world.records.at(-1)?.outcome).toEqual(outcome);
}

/** An operator's word was followed, and the ledger bears it out. */
function wasSkipped(world: SagaWorld, { name, role }: SagaStep): boolean {
  const followed = world.records.some(({ verb }) => verb?.state === 'applied');
  return role === 'retriable' && followed && world.ledger.get(name)?.state === 'sealed';
}

function wasLeft(world: SagaWorld, { name }: SagaStep): boolean {
  return world.abandoned.has(name);
}

/** Up to `most` faults for about half of the verbs of each step. */
export function randomPlan(
  random: Random,
  saga: SagaDefinition<unknown, unknown>,
  faults: readonly Fault[],
  most: number,
): Plan {
  const plan: Record<string, Fault[]> = {};
  for (const { name } of saga.steps) {
    for (const verb of ['run', 'undo', 'seal', 'abandon']) {
      const count = random.next() < 0.5 ? 0 : random.below(most + 1);
      plan[`${name}/${verb}`] = Array.from(
        { length: count },
        () => faults[random.below(faults.length)] ?? 'ok',
      );
    }
  }
  return plan;
}
