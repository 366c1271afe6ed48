import { describe, expect, test } from 'vitest';
import { PermanentError } from '../../../src/kernel/errors.ts';
import {
  failedWith,
  isTransientStorageError,
  storageFailure,
  toStorageError,
} from '../../../src/storage/storage-errors.ts';

const thrown = (fields: object): Error => Object.assign(new Error('from the SDK'), fields);

describe('what the SDK throws', () => {
  test.each([
    [{ statusCode: 404, code: 'BlobNotFound' }, 'BlobNotFound'],
    [{ statusCode: 404, details: { errorCode: 'ContainerNotFound' } }, 'ContainerNotFound'],
    [{ statusCode: 404 }, 'ResourceNotFound'],
    [{ statusCode: 304 }, 'ConditionNotMet'],
    [{ statusCode: 412 }, 'ConditionNotMet'],
    [{ code: 'ECONNREFUSED' }, 'ECONNREFUSED'],
    [{ statusCode: 500 }, undefined],
  ])('the code of %j is %s', (fields, code) => {
    expect(storageFailure(thrown(fields)).code).toBe(code);
  });

  test('nothing is read into things that are no errors', () => {
    expect(storageFailure('text')).toEqual({ statusCode: undefined, code: undefined });
    expect(failedWith(undefined, 'BlobNotFound')).toBe(false);
  });

  test.each([
    [{ statusCode: 503, code: 'ServerBusy' }, true],
    [{ statusCode: 500 }, true],
    [{ statusCode: 429 }, true],
    [{ code: 'ECONNRESET' }, true],
    [{ code: 'REQUEST_SEND_ERROR' }, true],
    [{ name: 'AbortError' }, true],
    [{ name: 'TimeoutError' }, true],
    [{ statusCode: 404, code: 'BlobNotFound' }, false],
    [{ statusCode: 403, code: 'AuthorizationPermissionMismatch' }, false],
    [{ statusCode: 412, code: 'ConditionNotMet' }, false],
    [{}, false],
  ])('%j is worth another try: %s', (fields, transient) => {
    expect(isTransientStorageError(thrown(fields))).toBe(transient);
  });

  test('a caller sees storage-unavailable, retryable, with the reason kept for the log', () => {
    const cause = thrown({ statusCode: 403, code: 'AuthorizationFailure' });
    const error = toStorageError('blob.read', cause);
    expect(error).toMatchObject({
      code: 'storage-unavailable',
      retryable: true,
      cause,
      details: { operation: 'blob.read', statusCode: 403, storageCode: 'AuthorizationFailure' },
    });
    expect(error.message).not.toContain('SDK');
  });

  test('errors of ours pass through', () => {
    const ours = new PermanentError('payload-too-large', 'too large');
    expect(toStorageError('blob.read', ours)).toBe(ours);
    expect(isTransientStorageError(ours)).toBe(false);
  });
});
