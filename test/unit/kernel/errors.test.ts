import { describe, expect, test } from 'vitest';
import {
  BugError,
  isRetryable,
  PermanentError,
  RetryableError,
} from '../../../src/kernel/errors.ts';

describe('whether a retry helps is in the class', () => {
  test.each([
    [RetryableError.shardUnavailable(1), 'shard-unavailable', true],
    [RetryableError.storageUnavailable(), 'storage-unavailable', true],
    [RetryableError.tooManyRequests('slow down'), 'too-many-requests', true],
    [PermanentError.validation('no', []), 'validation-failed', false],
    [PermanentError.configuration([]), 'configuration-invalid', false],
    [new PermanentError('email-taken', 'no'), 'email-taken', false],
    [new BugError('broken'), 'internal', false],
  ])('%s', (error, code, retryable) => {
    expect(error.code).toBe(code);
    expect(isRetryable(error)).toBe(retryable);
  });

  test('an unknown error is not retryable', () => {
    expect(isRetryable(new Error('?'))).toBe(false);
    expect(isRetryable('?')).toBe(false);
  });
});

test('the cause is kept', () => {
  const cause = new Error('socket');
  expect(RetryableError.shardUnavailable(0, { cause }).cause).toBe(cause);
});

test('a configuration error lists every problem with its setting', () => {
  const error = PermanentError.configuration([
    { path: 'SHARDS', message: 'is missing' },
    { path: 'LOG_LEVEL', message: 'is odd' },
  ]);
  expect(error.message).toContain('SHARDS: is missing');
  expect(error.message).toContain('LOG_LEVEL: is odd');
});
