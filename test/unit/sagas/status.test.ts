import { describe, expect, test } from 'vitest';
import type { OrchestrationClient } from '../../../src/durable/client.ts';
import type { SagaView } from '../../../src/durable/saga/view.ts';
import { PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import type { Timestamp } from '../../../src/kernel/time.ts';
import type { SagaRecord } from '../../../src/sagas/model.ts';
import type { SagaModule } from '../../../src/sagas/modules.ts';
import { sagasRoutes } from '../../../src/sagas/http.ts';
import type { SagaId } from '../../../src/sagas/saga-id.ts';
import { getSaga, replyOf, sagaStatusSchema } from '../../../src/sagas/status.ts';
import { createFakeServices } from '../../support/fake-services.ts';

const TIME = '2026-01-01T00:00:00.000Z' as Timestamp;
const RUNNING: SagaRecord = {
  sagaId: 'one' as SagaId,
  kind: 'test',
  status: 'running',
  attention: false,
  input: {},
  steps: undefined,
  outcome: undefined,
  createdAt: TIME,
  updatedAt: TIME,
  finishedAt: undefined,
};
const module = {
  definition: { kind: 'test', orchestration: {}, steps: [{ name: 'first' }, { name: 'second' }] },
} as unknown as SagaModule;
const view = (more: Partial<SagaView>): SagaView => ({
  kind: 'test',
  status: 'running',
  attention: false,
  steps: [{ name: 'first', state: 'running', attempts: 3 }],
  ...more,
});

describe('how a saga stands', () => {
  test('one that has told nothing yet has its table’s steps before it', () => {
    expect(replyOf(RUNNING, undefined, module)).toEqual({
      sagaId: 'one',
      kind: 'test',
      status: 'running',
      attention: false,
      steps: [
        { name: 'first', state: 'pending', attempts: 0 },
        { name: 'second', state: 'pending', attempts: 0 },
      ],
      startedAt: TIME,
      finishedAt: null,
    });
    expect(replyOf(RUNNING, undefined, undefined).steps).toEqual([]);
  });

  test('while it runs its orchestration knows best', () => {
    const live = view({ status: 'compensating', attention: true });
    expect(replyOf(RUNNING, live, module)).toMatchObject({
      status: 'compensating',
      attention: true,
      steps: live.steps,
    });
  });

  test('it has ended when the journal says so', () => {
    expect(replyOf(RUNNING, view({ status: 'completed' }), module)).toMatchObject({
      status: 'running',
      finishedAt: null,
    });
    const record: SagaRecord = {
      ...RUNNING,
      status: 'compensating',
      steps: [{ name: 'first', state: 'undoing', attempts: 2 }],
    };
    expect(replyOf(record, undefined, module)).toMatchObject({
      status: 'compensating',
      steps: record.steps,
    });
    const error = { code: 'email-taken', message: 'Taken.' };
    const ended: SagaRecord = {
      ...record,
      status: 'compensated',
      outcome: { kind: 'compensated', error },
      finishedAt: TIME,
    };
    const reply = replyOf(ended, undefined, module);
    expect(reply).toMatchObject({ status: 'compensated', outcome: { error }, finishedAt: TIME });
    expect(sagaStatusSchema.parse(reply)).toEqual(reply);
    const completed = { kind: 'completed' as const, value: { a: 1 } };
    expect(replyOf({ ...ended, outcome: completed }, undefined, module).outcome).toEqual({
      value: { a: 1 },
    });
  });
});

describe('GET /api/sagas/{sagaId}', () => {
  const ask = (
    found: SagaRecord | undefined,
    status: OrchestrationClient['status'],
  ): ReturnType<typeof getSaga> => {
    const services = createFakeServices({
      database: { onOwner: () => Promise.resolve(found) } as never,
    });
    const client = { status } as OrchestrationClient;
    return getSaga(services, client, { sagaId: RUNNING.sagaId, modules: [module] });
  };
  const away: OrchestrationClient['status'] = () =>
    Promise.reject(RetryableError.storageUnavailable());

  test('unknown: not-found', async () => {
    await expect(ask(undefined, away)).rejects.toMatchObject({ code: 'not-found' });
  });

  test('a runtime that does not answer hides nothing that is written down', async () => {
    expect(await ask(RUNNING, away)).toMatchObject({ status: 'running' });
    const foreign = () => Promise.reject(new PermanentError('conflict', 'Of another kind.'));
    expect(await ask(RUNNING, foreign)).toMatchObject({ status: 'running' });
  });

  test('a bug is not hidden', async () => {
    await expect(ask(RUNNING, () => Promise.reject(new TypeError('oops')))).rejects.toThrow('oops');
  });
});

describe('the kinds of an app', () => {
  const named = (kind: string, step: string): SagaModule =>
    ({ definition: { kind, steps: [{ name: step }] } }) as unknown as SagaModule;

  test('are told apart, and leave the name of local transactions alone', () => {
    expect(sagasRoutes([named('a', 'one'), named('b', 'one')])).toHaveLength(1);
    expect(() => sagasRoutes([named('a', 'one'), named('a', 'two')])).toThrow('one kind');
    expect(() => sagasRoutes([named('a', 'local')])).toThrow('called local');
  });
});
