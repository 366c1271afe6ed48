import { expect, test } from 'vitest';
import { PermanentError } from '../../../src/kernel/errors.ts';
import { createJsonLogger, errorFields } from '../../../src/kernel/logger.ts';

test('writes one JSON object per event, with inherited fields, from its level on', () => {
  const lines: string[] = [];
  const logger = createJsonLogger({
    minimum: 'info',
    write: (line) => lines.push(line),
    nowMs: () => 0,
  }).with({ shardId: 2 });
  logger.log('debug', 'orders.looked_up');
  logger.log('warn', 'orders.refused', { bucketId: 7 });
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    {
      time: '1970-01-01T00:00:00.000Z',
      level: 'warn',
      event: 'orders.refused',
      shardId: 2,
      bucketId: 7,
    },
  ]);
});

test('describes an error by class, code and cause', () => {
  const cause = new Error('socket closed');
  const fields = errorFields(new PermanentError('email-taken', 'taken', { cause }));
  expect(fields).toMatchObject({
    errorName: 'PermanentError',
    errorCode: 'email-taken',
    errorRetryable: false,
    errorCause: 'socket closed',
  });
  expect(errorFields('text')).toEqual({ errorMessage: 'text' });
});
