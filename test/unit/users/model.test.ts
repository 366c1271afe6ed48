import { describe, expect, test } from 'vitest';
import { fieldProblems } from '../../../src/kernel/schemas.ts';
import { registerUserSchema } from '../../../src/users/model.ts';

function problemsOf(value: unknown): readonly { path: string; message: string }[] {
  const parsed = registerUserSchema.safeParse(value, { reportInput: true });
  return parsed.success ? [] : fieldProblems(parsed.error);
}

describe('registerUserSchema', () => {
  test('gives canonical values', () => {
    expect(registerUserSchema.parse({ email: ' Ada@Example.com ', userId: 1001 })).toEqual({
      email: { address: 'Ada@Example.com', normalized: 'ada@example.com' },
      userId: '1001',
    });
  });

  test('tells what is wrong without repeating it', () => {
    expect(problemsOf({ email: 'secret value', userId: 0 })).toEqual([
      { path: '/email', message: expect.stringContaining('got another text') as string },
      { path: '/userId', message: expect.stringContaining('a user id') as string },
    ]);
    expect(problemsOf({})).toEqual([
      { path: '/email', message: expect.stringContaining('is missing') as string },
    ]);
    expect(JSON.stringify(problemsOf({ email: 'secret value' }))).not.toContain('secret');
  });
});
