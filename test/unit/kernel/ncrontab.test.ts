import { expect, test } from 'vitest';
import { parseNCrontab } from '../../../local/host/timers/ncrontab.ts';
import { isNcrontab } from '../../../src/kernel/ncrontab.ts';

const GOOD = [
  '0 0 2 * * *',
  '*/5 * * * * *',
  '30 0-20/2 1,3,5 1-15 jan-mar MON-fri',
  '59 59 23 31 12 6',
];

test.each(GOOD)('takes %s, and so does the host', (text) => {
  expect(isNcrontab(text)).toBe(true);
  expect(() => parseNCrontab(text)).not.toThrow();
});

test.each([
  '',
  '0 2 * * *',
  '0 0 24 * * *',
  '0 0 2 0 * *',
  '0 0 2 * * 7',
  'a b c d e f',
  '0 0 2 * 13 *',
])('refuses "%s"', (text) => {
  expect(isNcrontab(text)).toBe(false);
});

test.each(['*/0 0 2 * * *', '1-2-3 0 2 * * *', '0 0 2 * * *  *', '-1 0 2 * * *', '1,, 0 2 * * *'])(
  'refuses "%s"',
  (text) => {
    expect(isNcrontab(text)).toBe(false);
  },
);
