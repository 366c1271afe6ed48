import { describe, expect, test } from 'vitest';
import { requestIdOf, traceIdOf } from '../../../src/http/correlation.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';

describe('traceIdOf', () => {
  test.each([
    `00-${TRACE}-00f067aa0ba902b7-01`,
    `00-${TRACE}-00f067aa0ba902b7-00`,
    `01-${TRACE}-00f067aa0ba902b7-01-what-a-later-version-appends`,
  ])('%s', (header) => {
    expect(traceIdOf(header)).toBe(TRACE);
  });

  test.each([
    null,
    '',
    'nonsense',
    `ff-${TRACE}-00f067aa0ba902b7-01`,
    `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-00f067aa0ba902b7-01`,
    `00-${TRACE}-00f067aa0ba902b7-01-more`,
    `00-${TRACE}-00f067aa0ba902b7`,
  ])('%s is not one: a new trace begins', (header) => {
    const made = traceIdOf(header);
    expect(made).toMatch(/^[0-9a-f]{32}$/);
    expect(made).not.toBe(TRACE);
  });

  test('the caller comes before the platform', () => {
    const other = `00-${'a'.repeat(32)}-00f067aa0ba902b7-01`;
    expect(traceIdOf(`00-${TRACE}-00f067aa0ba902b7-01`, other)).toBe(TRACE);
    expect(traceIdOf('broken', other)).toBe('a'.repeat(32));
  });
});

describe('requestIdOf', () => {
  test('makes another one each time', () => {
    expect(requestIdOf(null)).not.toBe(requestIdOf(null));
  });
});
