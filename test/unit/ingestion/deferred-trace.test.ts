import { expect, test } from 'vitest';
import { RetryableError } from '../../../src/kernel/errors.ts';
import { noopTelemetry, type Telemetry } from '../../../src/kernel/telemetry.ts';
import type { Timestamp } from '../../../src/kernel/time.ts';
import { putOff } from '../../../src/ingestion/defer.ts';
import { takeMessage } from '../../../src/ingestion/queue.ts';
import { createFakeServices } from '../../support/fake-services.ts';

const TRACE = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

async function sentCopy(telemetry: Telemetry): Promise<string> {
  const sent: string[] = [];
  const queues = { send: (_queue: string, text: string) => Promise.resolve(void sent.push(text)) };
  const services = createFakeServices({ telemetry, queues: queues as never });
  const insertedAt = '2026-01-01T00:00:00.000Z' as Timestamp;
  const identity = { messageId: 'm-1', insertedAt, deferral: undefined };
  await putOff(services, identity, { amountCents: 'wrong' }, RetryableError.storageUnavailable({}));
  return sent[0] ?? '';
}

test('a copy that is put off names its trace, and its delivery is linked to it', async () => {
  const links: string[] = [];
  const telemetry: Telemetry = {
    ...noopTelemetry,
    enabled: true,
    traceparent: () => TRACE,
    link: (traceparent) => void links.push(traceparent),
  };
  const copy = await sentCopy(telemetry);
  const services = createFakeServices({ telemetry });
  const delivery = takeMessage(services, {
    message: JSON.parse(copy),
    metadata: { id: 'm-2' },
    client: () => {
      throw new Error('no orchestration is asked for');
    },
    logger: services.logger,
  });
  // The order itself is malformed; by then the delivery is linked.
  await expect(delivery).rejects.toMatchObject({ code: 'validation-failed' });
  expect(links).toEqual([TRACE]);
});

test('without telemetry a copy is what it always was', async () => {
  const { deferred } = JSON.parse(await sentCopy(noopTelemetry)) as { deferred: object };
  expect(Object.keys(deferred).toSorted()).toEqual([
    'attempt',
    'firstSeenAt',
    'insertedAt',
    'messageId',
  ]);
});
