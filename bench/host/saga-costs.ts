import { QueueServiceClient } from '@azure/storage-queue';
import { z } from 'zod';
import { createHttpClient, until } from '../../test/support/http.ts';
import { atMost, type Line, lineOf } from '../lines.ts';
import type { SagaStock } from './saga-stock.ts';
import type { HostWorld } from './world.ts';

/** Durable actions of a saga at most; as in `test/e2e/saga-history.test.ts`. */
const MOST_ACTIONS = 9;
/**
 * Bytes of a saga's history at most: each turn of its orchestration reads all of it, five times or so. The product's take
 * 4 to 6 KB.
 */
const MOST_BYTES = 8_000;
const END_TIMEOUT_MS = 60_000;

const statsSchema = z.object({ actions: z.int().min(1), historyBytes: z.int().min(1) });

/** One undisturbed saga of each kind, under an id of its own, as the host's store has it in the end. */
export async function costOfSagas(
  world: HostWorld,
  origin: string,
  stock: SagaStock,
): Promise<readonly Line[]> {
  await stock.fill(1);
  const { orderId, fromUserId, toUserId } = stock.transfer();
  const inputs = {
    'register-user': stock.registration(),
    'transfer-order': { orderId, fromUserId, toUserId },
  };
  const lines: Line[] = [];
  for (const [kind, input] of Object.entries(inputs)) {
    const { actions, historyBytes } = await costOf(world, origin, { kind, input });
    lines.push(
      lineOf({
        what: `${kind}: durable actions`,
        limit: `budget of ${MOST_ACTIONS}`,
        ratios: [actions / MOST_ACTIONS],
        target: atMost(1),
        note: `${actions}`,
      }),
      lineOf({
        what: `${kind}: bytes of history`,
        limit: `budget of ${MOST_BYTES}`,
        ratios: [historyBytes / MOST_BYTES],
        target: atMost(1),
        note: `${historyBytes}`,
      }),
    );
  }
  return lines;
}

async function costOf(
  world: HostWorld,
  origin: string,
  message: { readonly kind: string; readonly input: unknown },
): Promise<z.infer<typeof statsSchema>> {
  const http = createHttpClient(origin);
  const sagaId = `cost-${message.kind}`;
  const queue = QueueServiceClient.fromConnectionString(
    world.storageConnectionString,
  ).getQueueClient('sagas');
  await queue.createIfNotExists();
  const text = JSON.stringify({ sagaId, ...message });
  await queue.sendMessage(Buffer.from(text).toString('base64'));
  const instance = `/runtime/webhooks/durabletask/instances/${sagaId}`;
  // The orchestration ends shortly after its last activity has written the saga's end.
  const ended = await until(
    () => http.get(instance),
    ({ json }) => ['Completed', 'Failed', 'Terminated'].includes(String(json['runtimeStatus'])),
    { timeoutMs: END_TIMEOUT_MS, everyMs: 50 },
  );
  const saga = await http.get(`/api/sagas/${sagaId}`);
  if (ended.json['runtimeStatus'] !== 'Completed' || saga.json['status'] !== 'completed') {
    throw new Error(`The saga ${sagaId} did not complete: ${saga.text}`);
  }
  return statsSchema.parse((await http.get(`${instance}/stats`)).json);
}
