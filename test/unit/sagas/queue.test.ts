import { describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import type { OrchestrationClient } from '../../../src/durable/client.ts';
import { BugError, PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import { sagaIdInUse } from '../../../src/sagas/journal.ts';
import type { SagaModule } from '../../../src/sagas/modules.ts';
import {
  registerSagasQueue,
  takeSagaMessage,
  type SagasQueueApp,
} from '../../../src/sagas/queue.ts';
import type { SagaId } from '../../../src/sagas/saga-id.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createFakeServices } from '../../support/fake-services.ts';

interface Sent {
  readonly queue: string;
  readonly message: unknown;
  readonly visibleInSeconds: number | undefined;
}

const MESSAGE_ID = '5f1c0c1e-7d0b-4c55-9a3e-3f0c2f0f9b11';

/** A queue, a journal that has what it is given, and one kind of saga that does what it is told. */
function world(options: {
  readonly submit?: () => Promise<void>;
  readonly journal?: () => Promise<unknown>;
}) {
  const sent: Sent[] = [];
  const submit = vi.fn<(submission: unknown) => Promise<void>>(
    options.submit ?? (() => Promise.resolve()),
  );
  const clock = createFakeClock({ startMs: Date.parse('2026-01-01T00:00:00.000Z') });
  const services = createFakeServices(
    {
      clock,
      database: { onOwner: options.journal ?? (() => Promise.resolve(undefined)) } as never,
      queues: {
        send: (queue: string, text: string, more?: { readonly visibleInSeconds?: number }) => {
          const { visibleInSeconds } = more ?? {};
          sent.push({ queue, message: JSON.parse(text), visibleInSeconds });
          return Promise.resolve();
        },
      } as never,
    },
    { INGEST_DEFER_MAX_MS: '10000' },
  );
  const module = {
    definition: { kind: 'test' },
    local: undefined,
    message: z.strictObject({ n: z.int().transform(String) }),
    submit: (_services: unknown, _client: unknown, submission: unknown) => submit(submission),
  } as unknown as SagaModule;
  const take = (message: unknown, messageId: unknown = MESSAGE_ID): Promise<void> =>
    takeSagaMessage(services, [module], {
      message,
      messageId,
      client: () => ({}) as OrchestrationClient,
      logger: services.logger,
    });
  return { sent, submit, clock, services, take };
}

const MESSAGE = { kind: 'test', sagaId: 'mine', input: { n: 1 } };
const ended = { outcome: { kind: 'compensated' } };

describe('a message', () => {
  test('is carried out under its saga id, or else under its own', async () => {
    const { take, submit, sent } = world({});
    await take(MESSAGE);
    await take({ kind: 'test', input: { n: 2 } });
    expect(submit.mock.calls).toEqual([
      [{ sagaId: 'mine', message: { n: '1' } }],
      [{ sagaId: MESSAGE_ID, message: { n: '2' } }],
    ]);
    expect(sent).toEqual([]);
  });

  test.each([
    ['no JSON', 'text', ''],
    ['a list', [], ''],
    ['an unknown kind', { kind: 'other', input: {} }, '/kind'],
    ['no kind', { input: { n: 1 } }, '/kind'],
    ['another field', { ...MESSAGE, more: 1 }, '/more'],
    ['an id that is none', { ...MESSAGE, sagaId: 'a b' }, '/sagaId'],
    ['no input', { kind: 'test' }, '/input'],
    ['another input', { kind: 'test', input: { n: 1, m: 2 } }, '/input/m'],
  ])('%s is poison', async (_, message, path) => {
    const { take, submit, sent, services } = world({});
    await expect(take(message)).rejects.toMatchObject({
      code: 'validation-failed',
      problems: [{ path }],
    });
    expect([submit.mock.calls, sent]).toEqual([[], []]);
    expect(services.logger.events.at(-1)).toMatchObject({
      level: 'error',
      event: 'sagas.message_failed',
    });
  });
});

describe('a saga that cannot be had', () => {
  const refused = () => Promise.reject(new PermanentError('email-taken', 'Taken.'));
  const away = () => Promise.reject(RetryableError.shardUnavailable(1));

  test('a refusal that the journal has is an answer, also one of want of a shard', async () => {
    for (const submit of [refused, away]) {
      const { take, sent, services } = world({ submit, journal: () => Promise.resolve(ended) });
      await take(MESSAGE);
      expect(sent).toEqual([]);
      expect(services.logger.events.at(-1)?.event).toBe('sagas.message_refused');
    }
  });

  test('a refusal that the journal does not have is no answer', async () => {
    const { take } = world({ submit: refused });
    await expect(take(MESSAGE)).rejects.toMatchObject({ code: 'email-taken' });
  });

  test('an id that was used for another request is poison, whatever the journal has', async () => {
    const submit = () => Promise.reject(sagaIdInUse({ sagaId: 'mine' as SagaId }));
    const { take } = world({ submit, journal: () => Promise.resolve(ended) });
    await expect(take(MESSAGE)).rejects.toMatchObject({ code: 'conflict' });
  });

  test('a shard that is away puts it off, later and later, under its id, and not for ever', async () => {
    const { take, sent, clock } = world({ submit: away });
    await take({ kind: 'test', input: { n: 1 } });
    const first = sent[0]?.message;
    expect(sent[0]).toEqual({
      queue: 'sagas',
      visibleInSeconds: 2,
      message: {
        kind: 'test',
        sagaId: MESSAGE_ID,
        input: { n: 1 },
        deferred: { firstSeenAt: '2026-01-01T00:00:00.000Z', attempt: 1 },
      },
    });
    await clock.advance(5_000);
    await take(first, 'id of the copy');
    expect(sent[1]).toMatchObject({
      visibleInSeconds: 3,
      message: {
        sagaId: MESSAGE_ID,
        deferred: { firstSeenAt: '2026-01-01T00:00:00.000Z', attempt: 2 },
      },
    });
    await clock.advance(5_000);
    await expect(take(sent[1]?.message)).rejects.toMatchObject({ code: 'shard-unavailable' });
    expect(sent).toHaveLength(2);
  });

  test('a journal that does not answer puts it off as well', async () => {
    const { take, sent } = world({ submit: refused, journal: away });
    await take(MESSAGE);
    expect(sent).toHaveLength(1);
  });

  test('one without an id gets it before it goes to the poison queue', async () => {
    const submit = () => Promise.reject(new BugError('oops'));
    const { take, sent } = world({ submit });
    await take({ kind: 'test', input: { n: 1 } });
    expect(sent).toMatchObject([{ visibleInSeconds: 0, message: { sagaId: MESSAGE_ID } }]);
    await expect(take(sent[0]?.message)).rejects.toThrow('oops');
    expect(sent).toHaveLength(1);
  });
});

test('the trigger listens to the queue sagas', () => {
  const storageQueue = vi.fn<SagasQueueApp['storageQueue']>();
  registerSagasQueue({ storageQueue }, createFakeServices(), []);
  expect(storageQueue.mock.calls).toMatchObject([['sagas-queue', { queueName: 'sagas' }]]);
});
