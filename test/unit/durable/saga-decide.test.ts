import { describe, expect, it } from 'vitest';
import {
  afterAnswer,
  afterRecord,
  afterUnmadeInput,
  delivering,
  nextMove,
} from '../../../src/durable/saga/decide.ts';
import { shareOf } from '../../../src/durable/saga/jitter.ts';
import { afterOperator } from '../../../src/durable/saga/operator.ts';
import { OPERATOR_VERBS } from '../../../src/durable/saga/record.ts';
import {
  beginSaga,
  sagaState,
  viewOf,
  type SagaState,
  type SagaTable,
} from '../../../src/durable/saga/state.ts';
import type { StepAnswer } from '../../../src/durable/saga/step.ts';
import { sagaView } from '../../../src/durable/saga/view.ts';
import { createRandom } from '../../support/random.ts';
import { FAILED, REFUSAL, sagaOf } from './saga-world.ts';

const table = sagaOf({ before: 1, after: 1 });
const done: StepAnswer = { kind: 'done', value: { token: 'x' }, replayed: false };
const refused: StepAnswer = { kind: 'refused', error: REFUSAL };
const sealed: StepAnswer = { kind: 'sealed' };
const undone: StepAnswer = { kind: 'undone' };

const begin = (over: SagaTable = table): SagaState =>
  beginSaga(over, { sagaId: 's', mode: 'run', nowMs: 0, deadlineMs: undefined });

const after = (
  state: SagaState,
  answers: readonly StepAnswer[],
  nowMs = 0,
  over: SagaTable = table,
): SagaState =>
  answers.reduce((so, answer) => afterAnswer(over, delivering(over, so), answer, nowMs), state);

const brief = (state: SagaState) => `${state.phase} ${state.verb} ${state.cursor}`;

describe('one answer', () => {
  it.each([
    ['done before the pivot', [done], 'forward run 1'],
    ['refused before the pivot', [refused], 'compensating undo 0'],
    ['closed before the pivot', [undone], 'compensating undo 0'],
    ['failed once before the pivot', [FAILED], 'forward run 0'],
    ['failed too often before the pivot', [FAILED, FAILED, FAILED], 'recovering seal 0'],
    ['and it was done', [FAILED, FAILED, FAILED, done], 'recovering seal 1'],
    ['and it was not', [FAILED, FAILED, FAILED, sealed], 'compensating undo -1'],
    ['done at the pivot', [done, done], 'forward run 2'],
    ['refused at the pivot', [done, refused], 'recovering seal 1'],
    ['closed at the pivot', [done, sealed], 'recovering seal 1'],
    ['refused, and the seal finds it done', [done, refused, done], 'forward run 2'],
    ['refused, and the seal closes it', [done, refused, sealed], 'compensating undo 0'],
    ['refused, and the seal fails', [done, refused, refused], 'recovering seal 1'],
    ['refused after the pivot', [done, done, refused], 'forward run 2'],
    ['closed after the pivot', [done, done, sealed], 'forward run 3'],
    ['refused in a compensation', [refused, refused], 'compensating undo 0'],
    ['nonsense in a compensation', [refused, done], 'compensating undo 0'],
    ['sealed in a compensation', [refused, sealed], 'compensating undo -1'],
  ] as const)('%s', (_name, answers, expected) => {
    expect(brief(after(begin(), answers))).toBe(expected);
  });

  it('gives up when the next try would come after the deadline', () => {
    const limits = { ...table.limits, deadlineMs: 1_000, maxAttempts: 99 };
    const short = { ...table, limits };
    expect(brief(after(begin(short), [FAILED], 900, short))).toBe('forward run 0');
    expect(brief(after(begin(short), [FAILED], 990, short))).toBe('recovering seal 0');
  });

  it('does not try the pivot after the deadline, and looks before it gives up', () => {
    const limits = { ...table.limits, deadlineMs: 1_000 };
    const state = after(begin({ ...table, limits }), [done], 1_000);
    expect(brief(state)).toBe('recovering seal 1');
    expect(state.failure?.code).toBe('shard-unavailable');
  });
});

describe('waits', () => {
  it('grow to a cap, never shrink below half of it, and are the same at each replay', () => {
    const state = after(begin(), [refused]);
    let at = state;
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 60; attempt++) {
      at = after(at, [FAILED], 0);
      waits.push(at.notBeforeMs);
      const step = Math.min(5_000, 100 * 2 ** (attempt - 1));
      expect(at.notBeforeMs).toBeGreaterThanOrEqual(step / 2);
      expect(at.notBeforeMs).toBeLessThanOrEqual(step);
    }
    expect(
      after(
        state,
        waits.map(() => FAILED),
      ).notBeforeMs,
    ).toBe(waits.at(-1));
  });

  it('scatter sagas that failed together', () => {
    const shares = Array.from({ length: 1000 }, (_, at) => shareOf(`s1-000-${at}/c1/run/1`));
    const tenths = new Set(shares.map((share) => Math.floor(share * 10)));
    expect(tenths.size).toBe(10);
    expect(Math.abs(shares.reduce((sum, share) => sum + share, 0) / 1000 - 0.5)).toBeLessThan(0.05);
  });
});

describe('the journal', () => {
  it('is told of a compensation before it goes on, and is passed over when it does not answer', () => {
    const state = after(begin(), [refused]);
    expect(nextMove(table, state, 0)).toMatchObject({ kind: 'record', ending: undefined });
    const failed = afterRecord(table, state, false, 0);
    expect(nextMove(table, failed, 0)).toEqual({ kind: 'deliver', step: 0, verb: 'undo' });
    expect(nextMove(table, after(failed, [FAILED], 0), 0).kind).toBe('record');
  });

  it('is told the end until it has it', () => {
    const ended = after(begin(), [done, done, done]);
    expect(nextMove(table, ended, 0)).toMatchObject({ kind: 'record' });
    const failed = afterRecord(table, ended, false, 0);
    expect(nextMove(table, failed, 0).kind).toBe('wait');
    expect(nextMove(table, failed, failed.notBeforeMs).kind).toBe('record');
    const often = [1, 2, 3].reduce((so) => afterRecord(table, so, false, 0), ended);
    expect([ended.attention, often.attention]).toEqual([false, true]);
    expect(nextMove(table, afterRecord(table, ended, true, 0), 0).kind).toBe('finish');
  });
});

describe('an operator who comes too early or too late', () => {
  it.each([
    ['skip', [done, done], 'refused'],
    ['skip', [refused], 'refused'],
    ['skip', [done, done, done], 'refused'],
    ['compensate', [refused], 'refused'],
    ['compensate', [done, done], 'refused'],
    ['compensate', [done, done, done], 'refused'],
    ['retry', [done, done, done], 'applied'],
  ] as const)('%s after %j', (verb, answers, expected) => {
    const state = after(begin(), answers);
    const word = afterOperator(table, state, { verb, entry: '1' });
    expect(word.journal.settled).toEqual([{ entry: '1', state: expected }]);
    expect(brief(word)).toBe(brief(state));
  });

  it('skips the step that is meant and no other', () => {
    const stuck = after(begin(), [done, done, FAILED]);
    const skip = (step: string) =>
      afterOperator(table, stuck, { verb: 'skip', entry: '1', step }).journal.settled;
    expect(skip('c1')).toEqual([{ entry: '1', state: 'refused' }]);
    expect(skip('r1')).toEqual([{ entry: '1', state: 'applied' }]);
  });

  it('is heard again while the pivot is in doubt, and answered once it is known', () => {
    const doubtful = after(begin(), [done, FAILED]);
    const asked = afterOperator(table, doubtful, { verb: 'compensate', entry: '1' });
    expect([brief(asked), asked.journal.settled]).toEqual(['recovering seal 1', []]);
    const found = after(asked, [done]).journal.settled;
    expect(found).toEqual([{ entry: '1', state: 'refused' }]);
    expect(after(asked, [sealed]).journal.settled).toEqual([{ entry: '1', state: 'applied' }]);
  });
});

describe('any walk', () => {
  it('stays a state that its schema takes, as JSON, with a view that fits', () => {
    const seed = createRandom().seed;
    for (let walk = 0; walk < 200; walk++) {
      const random = createRandom(seed + walk);
      const over = sagaOf({ before: random.below(6), after: random.below(5) });
      const mode = random.next() < 0.5 ? 'run' : 'recover';
      let state = beginSaga(over, { sagaId: 's', mode, nowMs: 0, deadlineMs: 5_000 });
      for (let step = 0, nowMs = 0; step < 60; step++) {
        const move = nextMove(over, state, nowMs);
        if (move.kind === 'finish') break;
        state = randomNext(random, over, state, move.kind, nowMs);
        if (move.kind === 'wait') nowMs = move.untilMs;
        const text = JSON.stringify(state);
        expect(sagaState.parse(JSON.parse(text)), `seed ${seed + walk}`).toEqual(JSON.parse(text));
        expect(sagaView.parse(viewOf(over, state)).steps).toHaveLength(over.steps.length);
      }
    }
  });

  it('of the largest table, with an error in each step, has a view below 16 KB', () => {
    const message = 'x'.repeat(5_000);
    const error = { code: 'user-conflict', message };
    const big = sagaOf({ before: 15, after: 4 });
    let state = beginSaga(big, { sagaId: 's', mode: 'run', nowMs: 0, deadlineMs: undefined });
    const steps = state.steps.map((step) => ({ ...step, lastError: error }));
    state = { ...state, steps };
    expect(JSON.stringify(viewOf(big, state)).length).toBeLessThan(16_000);
  });
});

type Random = ReturnType<typeof createRandom>;

function randomNext(
  random: Random,
  over: SagaTable,
  state: SagaState,
  kind: 'wait' | 'deliver' | 'record',
  nowMs: number,
): SagaState {
  switch (kind) {
    case 'record':
      return afterRecord(over, state, random.next() < 0.7, nowMs);
    case 'wait': {
      const verb = OPERATOR_VERBS[random.below(10)];
      return verb === undefined ? state : afterOperator(over, state, { verb, entry: '1' });
    }
    case 'deliver': {
      if (random.next() < 0.1) return afterUnmadeInput(over, state, REFUSAL, nowMs);
      const answers: readonly StepAnswer[] = [done, undone, sealed, refused, FAILED];
      const answer = random.next() < 0.5 ? done : (answers[random.below(5)] ?? done);
      return afterAnswer(over, delivering(over, state), answer, nowMs);
    }
    default:
      throw new Error(`no such move: ${String(kind satisfies never)}`);
  }
}
