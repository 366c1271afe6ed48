import { describe, expect, test } from 'vitest';
import type { Verification } from '../../../src/verification/model.ts';
import { EMPTY_TALLY, figuresOf } from '../../../src/verification/tally.ts';
import { describeVerification, exitCodeOf } from '../../../tools/verification-report.ts';

const GREEN: Verification = {
  verificationId: 'v',
  status: 'completed',
  ok: true,
  progress: { chunksDone: 24, chunks: 24 },
  checks: [{ name: 'ownership', ok: true, checked: 1024, violations: 0, examples: [] }],
  figures: figuresOf(EMPTY_TALLY, { ordersVisible: 5012, visibleCents: '229720113' }),
  startedAt: '2026-01-01T00:00:00.000Z',
  finishedAt: '2026-01-01T00:00:02.500Z',
};

const RED: Verification = {
  ...GREEN,
  ok: false,
  checks: [
    {
      name: 'orders',
      ok: false,
      checked: 10,
      violations: 3,
      examples: [
        {
          check: 'orders',
          problem: 'user-missing',
          shard: 1,
          bucket: 7,
          subject: 'orders 7/1',
          detail: 'user 9',
        },
        {
          check: 'orders',
          problem: 'visible-twice',
          shard: null,
          bucket: 8,
          subject: 'orders 8/2',
        },
      ],
    },
  ],
};

describe('the report', () => {
  test('of a cluster in which all is well has its figures', () => {
    const text = describeVerification(GREEN);
    expect(text).toContain('Everything is as it must be (verification v, 2.5 s).');
    expect(text).toMatch(/ownership +1 024 {2}none/);
    expect(text).toMatch(/orders visible +5 012\n/);
    expect(text).toMatch(/visible cents +229 720 113\n/);
  });

  test('of violations names each, and how many are not shown', () => {
    const text = describeVerification(RED);
    expect(text).toContain('Some things are not as they must be');
    expect(text).toContain('    user-missing: orders 7/1 on shard 1 (user 9)\n');
    expect(text).toContain('    visible-twice: orders 8/2\n');
    expect(text).toContain('    and 1 more\n');
  });

  test('of a failure says why', () => {
    const failure = { code: 'shard-unavailable', message: 'shard 1 (b) does not answer' };
    const text = describeVerification({ ...GREEN, status: 'failed', ok: false, failure });
    expect(text).toContain('could not be finished');
    expect(text).toContain(failure.message);
  });

  test('shows in the exit code', () => {
    expect(exitCodeOf(GREEN)).toBe(0);
    expect(exitCodeOf(RED)).toBe(1);
    expect(exitCodeOf({ ...GREEN, status: 'failed', ok: false })).toBe(2);
  });
});
