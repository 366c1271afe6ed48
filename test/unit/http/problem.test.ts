import { describe, expect, test } from 'vitest';
import { PROBLEM_KINDS, problemReply } from '../../../src/http/problem.ts';
import { PermanentError, RetryableError } from '../../../src/kernel/errors.ts';

const request = { instance: '/api/users', requestId: 'r' };

describe('problemReply', () => {
  /** API.md's table. */
  test.each([
    ['validation-failed', 400],
    ['unauthorized', 401],
    ['user-not-found', 404],
    ['order-not-found', 404],
    ['not-found', 404],
    ['email-taken', 409],
    ['order-conflict', 409],
    ['idempotency-conflict', 409],
    ['payload-too-large', 413],
    ['unsupported-media-type', 415],
    ['too-many-requests', 429],
    ['shard-unavailable', 503],
    ['internal', 500],
  ] as const)('%s is %d', (code, status) => {
    expect(PROBLEM_KINDS[code].status).toBe(status);
  });

  test('validation errors are listed', () => {
    const problems = [{ path: '/a', message: 'is wrong' }];
    const { problem } = problemReply(PermanentError.validation('Not valid.', problems), request);
    expect(problem).toMatchObject({ detail: 'Not valid.', errors: problems });
  });

  test.each([
    [RetryableError.tooManyRequests('Slow down.'), 429, '1'],
    [RetryableError.shardUnavailable(1), 503, '2'],
    [RetryableError.storageUnavailable({ retryAfterSeconds: 0.01 }), 503, '1'],
  ])('%s tells when to come back', (error, status, retryAfter) => {
    const reply = problemReply(error, request);
    expect([reply.status, reply.headers['retry-after']]).toEqual([status, retryAfter]);
  });

  test('details of an error stay inside', () => {
    const error = new PermanentError('conflict', 'No.', { details: { host: 'db-1' } });
    expect(JSON.stringify(problemReply(error, request))).not.toContain('db-1');
  });
});
