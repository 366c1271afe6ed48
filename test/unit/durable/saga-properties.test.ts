import { describe, expect, it } from 'vitest';
import type { SagaDefinition } from '../../../src/durable/saga/definition.ts';
import { OPERATOR_EVENT, OPERATOR_VERBS } from '../../../src/durable/saga/record.ts';
import { sagaView, type SagaOutcome } from '../../../src/durable/saga/view.ts';
import { createRandom, type Random } from '../../support/random.ts';
import { expectWhole, randomPlan } from './saga-checks.ts';
import { driveSaga } from './saga-drive.ts';
import { FAULTS, QUICK, SagaWorld, sagaOf, type Fault, type Plan } from './saga-world.ts';

const seed = createRandom().seed;
const CASES = 150;

const randomSaga = (random: Random) => sagaOf({ before: random.below(6), after: random.below(5) });

/** What must come of a plan without late deliveries and operators: told from the plan alone. */
function expected(saga: SagaDefinition<unknown, unknown>, plan: Plan): string {
  for (const { name, role } of saga.steps) {
    if (role === 'retriable') continue;
    const { present, verdict } = outcomeOfStep(plan[`${name}/run`] ?? []);
    if (verdict === 'done' || (present && role === 'pivot')) continue;
    return verdict;
  }
  return 'completed';
}

function outcomeOfStep(faults: readonly Fault[]): { present: boolean; verdict: string } {
  let present = false;
  let verdict = 'done';
  for (let attempt = 0; attempt < QUICK.maxAttempts; attempt++) {
    const fault = faults[attempt] ?? 'ok';
    if (fault === 'ok' || fault === 'twice') return { present: true, verdict: 'done' };
    if (fault === 'refuse') return { present, verdict: present ? 'done' : 'email-taken' };
    present ||= fault.endsWith('-after');
    verdict = fault.startsWith('throw') ? 'internal' : 'shard-unavailable';
  }
  return { present, verdict };
}

const kindOf = (outcome: SagaOutcome): string =>
  outcome.kind === 'completed' ? 'completed' : outcome.error.code;

describe(`random tables under random failures (seed ${seed})`, () => {
  it('end as a model says that knows only the plan', async () => {
    const seen = new Map<string, number>();
    for (let at = 0; at < CASES; at++) {
      const random = createRandom(seed + at);
      const saga = randomSaga(random);
      const faults = FAULTS.filter((fault) => fault !== 'park');
      const plan = randomPlan(random, saga, faults, QUICK.maxAttempts + 1);
      const world = new SagaWorld(plan);
      world.recordFaults = random.below(3);
      const { outcome } = await driveSaga(saga, world, { random: () => random.next() });
      expect([at, kindOf(outcome)]).toEqual([at, expected(saga, plan)]);
      expectWhole(saga, world, outcome);
      seen.set(kindOf(outcome), (seen.get(kindOf(outcome)) ?? 0) + 1);
    }
    console.log(`seed ${seed}, ${CASES} sagas:`, Object.fromEntries(seen));
    // All kinds of ends were met, or the plans say nothing.
    expect(seen.size).toBe(4);
  }, 60_000);

  it('are whole also with late deliveries, deadlines, operators, and hosts that deliver twice', async () => {
    const seen = new Map<string, number>();
    for (let at = 0; at < CASES; at++) {
      const random = createRandom(seed + 10_000 + at);
      const saga = sagaOf(
        { before: random.below(6), after: random.below(5) },
        random.next() < 0.3 ? { deadlineMs: 1 + random.below(2_000) } : {},
      );
      const world = new SagaWorld(randomPlan(random, saga, FAULTS, 6));
      world.recordFaults = random.below(4);
      const { outcome, words, result } = await driveHarassed(random, saga, world);
      world.release();
      expectWhole(saga, world, outcome);
      expect(result.longestHistory).toBeLessThan(800);
      expectSettled(world, words);
      seen.set(kindOf(outcome), (seen.get(kindOf(outcome)) ?? 0) + 1);
    }
    console.log(`seed ${seed}, ${CASES} sagas:`, Object.fromEntries(seen));
  }, 60_000);

  it('are whole when their orchestration is lost, once or again, and recovered', async () => {
    const seen = new Map<string, number>();
    for (let at = 0; at < CASES; at++) {
      const random = createRandom(seed + 20_000 + at);
      const saga = randomSaga(random);
      const world = new SagaWorld(randomPlan(random, saga, FAULTS, 4));
      const outcome = await driveWithLosses(random, saga, world);
      world.release();
      expectWhole(saga, world, outcome);
      seen.set(kindOf(outcome), (seen.get(kindOf(outcome)) ?? 0) + 1);
    }
    console.log(`seed ${seed}, ${CASES} sagas:`, Object.fromEntries(seen));
    expect(seen.get('completed')).toBeGreaterThan(0);
    expect(seen.get('shard-unavailable')).toBeGreaterThan(0);
  }, 60_000);
});

/** Operators' words at random moments; parked deliveries released at random. */
async function driveHarassed(
  random: Random,
  saga: SagaDefinition<unknown, unknown>,
  world: SagaWorld,
) {
  const words: { verb: string; entry: string }[] = [];
  const { outcome, result } = await driveSaga(saga, world, {
    random: () => random.next(),
    redeliver: 0.1,
    raise: (status) => {
      expect(sagaView.safeParse(status).success).toBe(true);
      if (random.next() < 0.2) world.release();
      if (random.next() > 0.15) return undefined;
      if (random.next() < 0.1) return { name: OPERATOR_EVENT, data: 'nonsense' };
      const verb = OPERATOR_VERBS[random.below(3)] ?? 'retry';
      words.push({ verb, entry: String(words.length) });
      return { name: OPERATOR_EVENT, data: words.at(-1) };
    },
  });
  return { outcome, words, result };
}

/** Each word is settled in one way; one that came after the last wait is left to the journal's last record. */
function expectSettled(world: SagaWorld, words: readonly { readonly entry: string }[]): void {
  const settled = world.records.flatMap(({ verb }) => (verb === undefined ? [] : [verb]));
  const states = new Map(settled.map(({ entry, state }) => [entry, state]));
  // An activity that the host runs twice records twice, and the same.
  for (const { entry, state } of settled) expect(state).toBe(states.get(entry));
  const asked = words.map(({ entry }) => entry);
  expect([...states.keys()].filter((entry) => !asked.includes(entry))).toEqual([]);
}

class Lost extends Error {}

/** The orchestration vanishes at random, and then it is recovered; one that ended may run again, as by a second start. */
async function driveWithLosses(
  random: Random,
  saga: SagaDefinition<unknown, unknown>,
  world: SagaWorld,
): Promise<SagaOutcome> {
  let lose = 0.25;
  const raise = () => {
    if (random.next() < 0.3) world.release();
    if (random.next() < lose) throw new Lost();
    return undefined;
  };
  const options = { random: () => random.next(), redeliver: 0.1, raise };
  let mode: 'run' | 'recover' = 'run';
  let ended: SagaOutcome | undefined;
  for (;;) {
    try {
      const { outcome } = await driveSaga(saga, world, { ...options, mode });
      expect(outcome.kind).toBe(ended?.kind ?? outcome.kind);
      if (random.next() < 0.6) return outcome;
      ended = outcome;
      mode = random.next() < 0.5 ? 'recover' : 'run';
    } catch (error) {
      if (!(error instanceof Lost)) throw error;
      lose /= 2;
      mode = 'recover';
    }
  }
}
