import { describe, expect, test } from 'vitest';
import type { AnySaga, SagaStep } from '../../../src/durable/saga/definition.ts';
import type { UserId } from '../../../src/kernel/ids.ts';
import type { Timestamp } from '../../../src/kernel/time.ts';
import { parseEmail, type Email } from '../../../src/users/email.ts';
import { changeEmailSaga, registerUserSaga } from '../../../src/users/saga.ts';

const email = parseEmail('Ada@Example.com') as Email;
const userId = '1001' as UserId;
const createdAt = '2026-01-01T00:00:00.000Z' as Timestamp;
const user = { userId, email: email.address, createdAt };

function rolesOf(saga: AnySaga): readonly (readonly [string, string])[] {
  return saga.steps.map(({ role, name }: SagaStep) => [role, name]);
}

/** The inputs of all steps, checked by their contracts, given what the steps before them answered. */
function inputsOf(
  saga: AnySaga,
  input: unknown,
  results: Readonly<Record<string, unknown>>,
): readonly unknown[] {
  return saga.steps.map((step: SagaStep) =>
    step.contract.input.parse(step.inputOf({ sagaId: 's', input, results })),
  );
}

describe('register-user', () => {
  const input = registerUserSaga.input.parse({ userId, email, createdAt });

  test('reserves, creates, confirms', () => {
    expect(rolesOf(registerUserSaga)).toEqual([
      ['compensatable', 'reserve-email'],
      ['pivot', 'create-user'],
      ['retriable', 'confirm-email'],
    ]);
  });

  test('gives each step what it needs, and answers the user', () => {
    expect(inputsOf(registerUserSaga, input, {})).toEqual([
      { userId, email: 'ada@example.com', purpose: 'register' },
      { userId, email, createdAt },
      { userId, email: 'ada@example.com' },
    ]);
    expect(registerUserSaga.outputOf({ sagaId: 's', input, results: {} })).toEqual(user);
  });

  test('takes canonical values only', () => {
    const wrong = [
      { userId: '01', email, createdAt },
      { userId, email, createdAt: '2026-01-01' },
      { userId, email: email.normalized, createdAt },
      { userId, email, createdAt, more: 1 },
    ];
    for (const value of wrong) expect(registerUserSaga.input.safeParse(value).success).toBe(false);
  });
});

describe('change-email', () => {
  const input = changeEmailSaga.input.parse({ userId, email });

  test('reserves, updates, confirms, releases', () => {
    expect(rolesOf(changeEmailSaga)).toEqual([
      ['compensatable', 'reserve-email'],
      ['pivot', 'update-user'],
      ['retriable', 'confirm-email'],
      ['retriable', 'release-old-email'],
    ]);
  });

  test.each([
    [false, 'old@example.com'],
    [true, null],
  ])('hands on what was found: held %s, old %s', (held, old) => {
    const results = { 'reserve-email': { held }, 'update-user': { old, user } };
    expect(inputsOf(changeEmailSaga, input, results)).toEqual([
      { userId, email: 'ada@example.com', purpose: 'change' },
      { userId, email, held },
      { userId, email: 'ada@example.com' },
      { userId, old },
    ]);
    expect(changeEmailSaga.outputOf({ sagaId: 's', input, results })).toEqual(user);
  });
});
