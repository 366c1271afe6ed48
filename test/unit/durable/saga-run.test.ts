import { describe, expect, it } from 'vitest';
import { OPERATOR_EVENT, type OperatorVerb } from '../../../src/durable/saga/record.ts';
import { sagaView, type StepView } from '../../../src/durable/saga/view.ts';
import { driveSaga } from './saga-drive.ts';
import { SagaWorld, sagaOf, type Fault } from './saga-world.ts';

const times = (count: number, fault: Fault): Fault[] => Array.from({ length: count }, () => fault);
/** More than any saga here tries: a step that never works. */
const ALWAYS = 500;
const inOrder = (): number => 0;
const latestFirst = (): number => 0.999;

const stepIn = (status: unknown, name: string): StepView | undefined =>
  sagaView.safeParse(status).data?.steps.find((step) => step.name === name);

/** Sends one word, once, when `when` first holds of the custom status. */
function sayOnce(verb: OperatorVerb, when: (status: unknown) => boolean) {
  let said = false;
  return (status: unknown) => {
    if (said || !when(status)) return undefined;
    said = true;
    return { name: OPERATOR_EVENT, data: { verb, entry: '7' } };
  };
}

const wordsOf = (world: SagaWorld) =>
  world.records.flatMap(({ verb }) => (verb === undefined ? [] : [verb.state]));

describe('a saga in which all goes well', () => {
  it.each([1, 3, 4])(
    'costs one action per step and one for its record: %d steps',
    async (count) => {
      const world = new SagaWorld({});
      const saga = sagaOf({ before: Math.min(1, count - 1), after: Math.max(0, count - 2) });
      const { outcome, result } = await driveSaga(saga, world);
      expect(outcome.kind).toBe('completed');
      expect(result.actions).toBe(count + 1);
      expect(result.executions).toBe(1);
      expect(world.records).toHaveLength(1);
      console.log(
        `${count} steps: ${result.actions} actions, ${result.historyBytes} bytes of history`,
      );
    },
  );
});

describe('a saga that is refused', () => {
  it('takes back the refused step as well, in reverse, and says why', async () => {
    const world = new SagaWorld({ 'c2/run': ['refuse'] });
    const { outcome, result } = await driveSaga(sagaOf({ before: 2, after: 1 }), world);
    expect(outcome).toEqual({
      kind: 'compensated',
      error: { code: 'email-taken', message: 'That is taken.' },
    });
    expect(world.log).toEqual(['run c1', 'undo c1']);
    expect(world.ledger.get('c2')?.state).toBe('undone');
    // Two steps, the record of the start of the compensation, two compensations, the record of the end.
    expect(result.actions).toBe(6);
    expect(world.records.map(({ view }) => view.status)).toEqual(['compensating', 'compensated']);
    expect(world.records.at(-1)?.view.steps.map(({ state }) => state)).toEqual([
      'undone',
      'undone',
      'unneeded',
      'unneeded',
    ]);
  });

  it('closes a refused pivot first: one that had its effect all the same goes on', async () => {
    const world = new SagaWorld({ 'pivot/run': ['throw-after', 'throw-before', 'throw-before'] });
    const { outcome } = await driveSaga(sagaOf({ before: 1, after: 1 }), world);
    expect(outcome.kind).toBe('completed');
    expect(world.log).toEqual(['run c1', 'run pivot', 'run r1']);
  });

  it('never shows what was thrown', async () => {
    const world = new SagaWorld({ 'c1/run': times(3, 'throw-before') });
    const { outcome, result } = await driveSaga(sagaOf({ before: 1, after: 0 }), world);
    const told = JSON.stringify([outcome, [...result.statuses], world.records]);
    expect(told).toContain('A step of this saga failed unexpectedly.');
    expect(told).not.toContain('host-7');
  });
});

describe('a step that never works', () => {
  it('is tried before the pivot until the deadline, and not once after it', async () => {
    const saga = sagaOf({ before: 1, after: 0 }, { deadlineMs: 2_000, maxAttempts: ALWAYS });
    const world = new SagaWorld({ 'c1/run': times(ALWAYS, 'fail-before') });
    const { outcome } = await driveSaga(saga, world);
    expect(outcome).toMatchObject({ kind: 'compensated', error: { code: 'shard-unavailable' } });
    // 100, 200, 400, 800 ms and no more, each between half and the whole of it.
    expect(world.deliveries).toBeGreaterThan(3);
    expect(world.deliveries).toBeLessThan(10);
  });

  it.each(['r1/run', 'c1/undo', 'pivot/seal'])(
    '%s is tried for ever, asks for attention once, and keeps its history short',
    async (key) => {
      const world = new SagaWorld({
        [key]: times(150, 'fail-before'),
        ...(key !== 'r1/run' && { 'pivot/run': ['refuse'] }),
      });
      const { outcome, result } = await driveSaga(sagaOf({ before: 1, after: 1 }), world);
      expect(outcome.kind).toBe(key === 'r1/run' ? 'completed' : 'compensated');
      expect(world.records.filter(({ view }) => view.attention)).toHaveLength(1);
      expect(result.executions).toBeGreaterThan(5);
      expect(result.longestHistory).toBeLessThan(250);
      const { executions, longestHistory } = result;
      console.log(
        `${key}: 150 failures, ${executions} executions, ${longestHistory} events at most`,
      );
    },
  );

  it('does not hold up a compensation when it is the journal, which gets its end all the same', async () => {
    const world = new SagaWorld({ 'pivot/run': ['refuse'], 'c1/undo': ['fail-before'] });
    world.recordFaults = 30;
    const { outcome } = await driveSaga(sagaOf({ before: 1, after: 0 }), world);
    expect(world.records.map((record) => record.outcome)).toEqual([outcome]);
    expect(world.records[0]?.view.attention).toBe(false);
  });
});

describe('an operator', () => {
  const failing = (name: string, attempts: number) => (status: unknown) => {
    const step = stepIn(status, name);
    return step !== undefined && step.lastError !== undefined && step.attempts >= attempts;
  };

  it('has a step after the pivot skipped: it is closed, and the saga goes on', async () => {
    const world = new SagaWorld({ 'r1/run': times(ALWAYS, 'fail-before') });
    const raise = sayOnce('skip', failing('r1', 4));
    const { outcome } = await driveSaga(sagaOf({ before: 1, after: 2 }), world, { raise });
    expect(outcome.kind).toBe('completed');
    expect(world.ledger.get('r1')?.state).toBe('sealed');
    expect(world.records.at(-1)?.view.steps.map(({ state }) => state)).toEqual([
      'done',
      'done',
      'skipped',
      'done',
    ]);
    expect(wordsOf(world)).toEqual(['applied']);
  });

  it('finds a step that was to be skipped done', async () => {
    const world = new SagaWorld({ 'r1/run': ['fail-after', ...times(ALWAYS, 'fail-before')] });
    const raise = sayOnce('skip', failing('r1', 2));
    await driveSaga(sagaOf({ before: 0, after: 1 }), world, { raise });
    expect(world.records.at(-1)?.view.steps.map(({ state }) => state)).toEqual(['done', 'done']);
  });

  it('gives a compensation up: the others still run', async () => {
    const world = new SagaWorld({
      'pivot/run': ['refuse'],
      'c2/undo': times(ALWAYS, 'fail-before'),
    });
    const raise = sayOnce('skip', failing('c2', 2));
    await driveSaga(sagaOf({ before: 2, after: 0 }), world, { raise });
    expect(world.log).toEqual(['run c1', 'run c2', 'undo c1']);
    expect([...world.abandoned]).toEqual(['c2']);
    expect(wordsOf(world)).toEqual(['applied']);
  });

  it('has a saga taken back before its pivot', async () => {
    const world = new SagaWorld({ 'pivot/run': times(2, 'fail-before') });
    const raise = sayOnce('compensate', failing('pivot', 1));
    const { outcome } = await driveSaga(sagaOf({ before: 1, after: 0 }), world, { raise });
    expect(outcome).toMatchObject({ kind: 'compensated', error: { code: 'conflict' } });
    expect(wordsOf(world)).toEqual(['applied']);
  });

  it('is refused when the pivot turns out to be done', async () => {
    const world = new SagaWorld({ 'pivot/run': ['fail-after', 'fail-before'] });
    const raise = sayOnce('compensate', failing('pivot', 1));
    const { outcome } = await driveSaga(sagaOf({ before: 1, after: 0 }), world, { raise });
    expect(outcome.kind).toBe('completed');
    expect(wordsOf(world)).toEqual(['refused']);
  });

  it.each([
    ['compensate', 'r1'],
    ['skip', 'c1'],
    ['skip', 'pivot'],
  ] as const)('is refused: %s at %s', async (verb, name) => {
    const world = new SagaWorld({ [`${name}/run`]: times(2, 'fail-before') });
    const raise = sayOnce(verb, failing(name, 1));
    const { outcome } = await driveSaga(sagaOf({ before: 1, after: 1 }), world, { raise });
    expect(outcome.kind).toBe('completed');
    expect(wordsOf(world)).toEqual(['refused']);
  });

  it.each([
    ['retry', 100_000_000_000, 1],
    ['nothing', 100_000_000_000, 0],
  ] as const)('shortens a wait by %s', async (verb, firstMs, applied) => {
    const world = new SagaWorld({ 'r1/run': ['fail-before'] });
    const limits = { backoff: { firstMs, factor: 1, maxMs: firstMs } };
    const waited = sayOnce('retry', (status) => verb === 'retry' && failing('r1', 1)(status));
    const { result } = await driveSaga(sagaOf({ before: 0, after: 1 }, limits), world, {
      random: latestFirst,
      raise: waited,
    });
    expect(wordsOf(world)).toHaveLength(applied);
    const years = result.elapsedMs / 31_536_000_000;
    expect(years > 1).toBe(verb === 'nothing');
  });

  it('is heard when the word comes while a step runs, before any wait', async () => {
    const world = new SagaWorld({ 'c1/run': ['fail-before'] });
    const raise = sayOnce('compensate', (status) => stepIn(status, 'c1')?.state === 'running');
    const { outcome } = await driveSaga(sagaOf({ before: 1, after: 0 }), world, {
      random: latestFirst,
      raise,
    });
    expect(outcome.kind).toBe('compensated');
    expect(wordsOf(world)).toEqual(['applied']);
  });

  it('is heard when the word comes while a step runs, after a wait that ran out', async () => {
    const world = new SagaWorld({ 'c1/run': ['fail-before'] });
    const again = (status: unknown) => {
      const step = stepIn(status, 'c1');
      return step?.state === 'running' && step.attempts === 2;
    };
    const { outcome } = await driveSaga(sagaOf({ before: 1, after: 0 }), world, {
      random: latestFirst,
      raise: sayOnce('compensate', again),
    });
    expect(outcome.kind).toBe('compensated');
    expect(world.log).toEqual(['run c1', 'undo c1']);
    expect(wordsOf(world)).toEqual(['applied']);
  });
});

describe('a table with a mistake', () => {
  it('compensates what was done when an input cannot be made, and is not stuck', async () => {
    const saga = sagaOf({ before: 2, after: 0 });
    const broken = {
      ...saga,
      steps: saga.steps.map((step) =>
        step.name === 'c2' ? { ...step, inputOf: () => ({ seen: 'no list' }) } : step,
      ),
    };
    const world = new SagaWorld({});
    const { outcome } = await driveSaga(broken, world, { random: inOrder });
    expect(outcome).toMatchObject({ kind: 'compensated', error: { code: 'internal' } });
    expect(world.log).toEqual(['run c1', 'undo c1']);
  });
});

describe('a saga that was lost', () => {
  it('goes on with the results that the ledger kept when its pivot is done', async () => {
    const world = new SagaWorld({});
    const saga = sagaOf({ before: 2, after: 2 });
    await driveSaga(saga, world);
    world.ledger.delete('r2');
    world.effects.delete('r2');
    const { outcome, result } = await driveSaga(saga, world, { mode: 'recover' });
    expect(outcome).toEqual({ kind: 'completed', value: 'pivot-3' });
    expect(world.problems).toEqual([]);
    expect(world.log).toEqual(['run c1', 'run c2', 'run pivot', 'run r1', 'run r2', 'run r2']);
    expect(result.actions).toBe(6);
  });

  it('is taken back when it had not come to its pivot, also when it had not begun', async () => {
    for (const begun of [['c1'], []]) {
      const world = new SagaWorld({});
      const saga = sagaOf({ before: 2, after: 1 });
      const [first] = saga.steps;
      if (begun.length > 0 && first !== undefined) {
        const run = world.activities(saga)[first.contract.name];
        const delivery = { sagaId: 'root', step: 'c1', verb: 'run', input: { seen: [] } };
        await run?.(delivery, { instanceId: '', logger: { log: () => {}, with: () => never() } });
      }
      const { outcome } = await driveSaga(saga, world, { mode: 'recover' });
      expect(outcome).toMatchObject({ kind: 'compensated', error: { code: 'shard-unavailable' } });
      expect(world.log).toEqual(begun.length > 0 ? ['run c1', 'undo c1'] : []);
      expect(world.ledger.has(begun.length > 0 ? 'c2' : 'c1')).toBe(true);
    }
  });
});

function never(): never {
  throw new Error('nobody asks for this');
}
