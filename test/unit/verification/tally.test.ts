import { expect, test } from 'vitest';
import { MAX_EXAMPLES, type Violation } from '../../../src/verification/model.ts';
import {
  addTallies,
  checkResults,
  createCounter,
  EMPTY_TALLY,
  figuresOf,
} from '../../../src/verification/tally.ts';

const violation = (check: Violation['check'], bucket: number): Violation => ({
  check,
  bucket,
  problem: 'odd',
  shard: 0,
  subject: `t ${bucket}`,
});

test('a counter counts only what was asked for', () => {
  const counter = createCounter(['rows']);
  counter.checked('rows', 2);
  counter.checked('emails', 3);
  counter.violation(violation('rows', 1));
  counter.violation(violation('emails', 2));
  counter.figure('users', 4);
  expect(counter.tally()).toEqual({
    checked: { rows: 2 },
    violations: { rows: 1 },
    examples: [violation('rows', 1)],
    figures: { users: 4 },
  });
});

test('adding up keeps all counts and the first examples of each check', () => {
  const counter = createCounter(['rows', 'orders']);
  for (let bucket = 0; bucket < MAX_EXAMPLES + 5; bucket += 1) {
    counter.violation(violation('rows', bucket));
  }
  counter.violation(violation('orders', 1));
  const tally = addTallies(addTallies(EMPTY_TALLY, counter.tally()), counter.tally());
  const [rows, orders] = checkResults(tally, ['orders', 'rows']);
  expect(rows).toMatchObject({ name: 'rows', ok: false, violations: 2 * (MAX_EXAMPLES + 5) });
  expect(rows?.examples.map(({ bucket }) => bucket)).toEqual(
    Array.from({ length: MAX_EXAMPLES }, (_, bucket) => bucket),
  );
  expect(orders).toMatchObject({ name: 'orders', violations: 2 });
  expect(orders?.examples).toHaveLength(2);
});

test('a check that found nothing is ok, and figures that were not counted are zero', () => {
  expect(checkResults(EMPTY_TALLY, ['sagas'])).toEqual([
    { name: 'sagas', ok: true, checked: 0, violations: 0, examples: [] },
  ]);
  const figures = figuresOf(EMPTY_TALLY, { ordersVisible: 1, visibleCents: '5' });
  expect(figures).toMatchObject({ users: 0, ordersVisible: 1, visibleCents: '5' });
});
