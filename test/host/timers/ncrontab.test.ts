import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nextWallTime, parseNCrontab } from '../../../local/host/timers/ncrontab.ts';

const at = (text: string): number => Date.parse(`${text}Z`);

function next(expression: string, after: string): string | undefined {
  const found = nextWallTime(parseNCrontab(expression), at(after));
  return found === undefined ? undefined : new Date(found).toISOString().slice(0, 19);
}

describe('next occurrence', () => {
  test.each([
    ['*/5 * * * * *', '2026-01-01T00:00:00', '2026-01-01T00:00:05'],
    ['* * * * * *', '2026-01-01T00:00:00.900', '2026-01-01T00:00:01'],
    ['0 */5 * * * *', '2026-01-01T00:02:10', '2026-01-01T00:05:00'],
    ['*/5 * * * *', '2026-01-01T00:02:10', '2026-01-01T00:05:00'],
    ['0 0 2 * * *', '2026-01-01T02:00:00', '2026-01-02T02:00:00'],
    ['0 30 9-17/2 * * *', '2026-01-01T11:31:00', '2026-01-01T13:30:00'],
    ['0 0 0 * * Mon-Fri', '2026-01-02T12:00:00', '2026-01-05T00:00:00'],
    ['0 0 0 * * fri-mon', '2026-01-05T00:00:00', '2026-01-06T00:00:00'],
    ['0 0 0 1 January *', '2026-01-01T00:00:00', '2027-01-01T00:00:00'],
    ['0 0 0 29 2 *', '2026-01-01T00:00:00', '2028-02-29T00:00:00'],
    ['0 0 0 29 2 1', '2026-01-01T00:00:00', '2044-02-29T00:00:00'],
    ['0 0 0 31 * *', '2026-01-31T00:00:00', '2026-03-31T00:00:00'],
    ['0 0 0 13 * 5', '2026-01-01T00:00:00', '2026-02-13T00:00:00'],
    ['10/20 * * * * *', '2026-01-01T00:00:31', '2026-01-01T00:00:50'],
    ['50-10 0 0 * * *', '2026-01-01T00:00:05', '2026-01-01T00:00:10'],
    ['0,15,45 59 23 31 12 *', '2026-12-31T23:59:45', '2027-12-31T23:59:00'],
  ])('%s after %s is %s', (expression, after, expected) => {
    expect(next(expression, after)).toBe(expected);
  });

  test('there is none for 30 February', () => {
    expect(next('0 0 0 30 2 *', '2026-01-01T00:00:00')).toBeUndefined();
  });

  test('it equals a search second by second', () => {
    const field = (max: number) =>
      fc.oneof(
        fc.constant('*'),
        fc.integer({ min: 0, max }).map(String),
        fc.integer({ min: 2, max: 30 }).map((step) => `*/${step}`),
        fc
          .tuple(fc.integer({ min: 0, max }), fc.integer({ min: 0, max }))
          .map(([a, b]) => `${a}-${b}`),
      );
    const seconds = fc.integer({ min: 0, max: 86_400 * 365 });
    fc.assert(
      fc.property(field(59), field(59), seconds, (second, minute, offset) => {
        const cron = parseNCrontab(`${second} ${minute} * * * *`);
        const start = at('2026-01-01T00:00:00') + offset * 1000;
        let expected = start + 1000;
        for (;;) {
          const time = new Date(expected);
          const matches =
            cron.seconds.has(time.getUTCSeconds()) && cron.minutes.has(time.getUTCMinutes());
          if (matches) break;
          expected += 1000;
        }
        expect(nextWallTime(cron, start)).toBe(expected);
      }),
    );
  });
});

describe('parsing', () => {
  test.each([
    ['* * * *', /5 or 6 fields, but has 4/],
    ['* * * * * * *', /has 7/],
    ['60 * * * * *', /second "60" is not within 0-59/],
    ['0 0 24 * * *', /hour "24"/],
    ['0 0 0 0 * *', /day "0" is not within 1-31/],
    ['0 0 0 * 13 *', /month "13"/],
    ['0 0 0 * * 7', /day of week "7" is not within 0-6/],
    ['0 0 0 * * xyz', /"xyz" is not a day of week/],
    ['0 0 0 * * mo', /"mo" is not a day of week/],
    ['*/x * * * * *', /not a valid second field/],
    ['1,,2 * * * * *', /"" is not a second/],
    ['1/2/3 * * * * *', /not a valid second field/],
  ])('%s is refused', (expression, message) => {
    expect(() => parseNCrontab(expression)).toThrow(message);
  });
});
