import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { fieldProblems, valueSchema, wholeNumberText } from '../../../src/kernel/schemas.ts';

function problemsOf(schema: z.ZodType, value: unknown, prefix?: string): unknown {
  const parsed = schema.safeParse(value, { reportInput: true });
  return parsed.success ? [] : fieldProblems(parsed.error, prefix);
}

describe('valueSchema', () => {
  const even = valueSchema({
    parse: (value) => (typeof value === 'number' && value % 2 === 0 ? value : undefined),
    expected: 'an even number',
    schema: { type: 'number' },
  });

  test.each([
    [undefined, 'is missing: an even number is expected'],
    [null, 'an even number is expected, got null'],
    ['', 'an even number is expected, got an empty text'],
    ['x', 'an even number is expected, got another text'],
    [true, 'an even number is expected, got a boolean'],
    [3, 'an even number is expected, got another number'],
    [0.5, 'an even number is expected, got a number that is not a safe integer'],
    [[], 'an even number is expected, got an array'],
    [{}, 'an even number is expected, got an object'],
  ])('%j', (value, message) => {
    expect(problemsOf(even, value)).toEqual([{ path: '', message }]);
  });

  test('shows the schema it was given, as a required field', () => {
    expect(z.toJSONSchema(z.object({ even }), { io: 'input' })).toMatchObject({
      properties: { even: { type: 'number' } },
      required: ['even'],
    });
  });
});

describe('fieldProblems', () => {
  const schema = z.strictObject({ list: z.array(z.strictObject({ a: z.number() })).optional() });

  test('paths are JSON pointers below the prefix', () => {
    expect(problemsOf(schema, { list: [{ a: 1 }, { a: 'x', 'b/c': 1 }] }, '/query')).toMatchObject([
      { path: '/query/list/1/a' },
      { path: '/query/list/1/b~1c', message: 'is not a known field' },
    ]);
  });

  test('overlong names are cut', () => {
    const [problem] = problemsOf(schema, { ['x'.repeat(100_000)]: 1 }) as { path: string }[];
    expect(problem?.path).toHaveLength(66);
  });
});

describe('wholeNumberText', () => {
  const schema = wholeNumberText({ min: 1, max: 1000 });

  test.each([
    ['1', 1],
    ['1000', 1000],
    ['007', 7],
  ])('%j is %d', (text, value) => {
    expect(schema.parse(text)).toBe(value);
  });

  test.each(['0', '1001', '-1', '+1', '1.0', '1e2', ' 1', '', '9'.repeat(400), 1, null])(
    '%j is refused',
    (value) => {
      expect(schema.safeParse(value).success).toBe(false);
    },
  );
});
