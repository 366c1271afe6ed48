import { expect, test } from 'vitest';
import { describeProgress } from '../../../local/progress-line.ts';

const options = { label: 'orders', total: 5_009, unit: 'orders' };

test('shows share, count, rate and the time left', () => {
  const line = describeProgress(options, 2_000, 4);
  expect(line).toContain('39 %');
  expect(line).toContain('2 000/5 009 orders');
  expect(line).toContain('500/s');
  expect(line).toContain('7 s left');
});

test('says so while nothing has happened yet', () => {
  expect(describeProgress(options, 0, 0)).toContain('waiting');
});

test('an empty job is done', () => {
  expect(describeProgress({ ...options, total: 0 }, 0, 1)).toContain('100 %');
});
