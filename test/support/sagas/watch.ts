import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { TestApp } from '../app.ts';
import { type HttpReply, until } from '../http.ts';
import { onEveryShard } from './cases.ts';

/** Longer than any saga of a test may take with a shard away, a killed host and a busy machine. */
const END_TIMEOUT_MS = 240_000;

/** Asks, and says undefined when the connection broke, as it does while the host is being killed. */
export async function ask(send: () => Promise<HttpReply>): Promise<HttpReply | undefined> {
  try {
    return await send();
  } catch {
    return undefined;
  }
}

/** How a saga ended, once it has. */
export async function endedSaga(app: TestApp, sagaId: string): Promise<Record<string, unknown>> {
  const reply = await until(
    () => ask(() => app.http.get(`/api/sagas/${sagaId}`)),
    (answer) =>
      answer?.status === 200 &&
      ['completed', 'compensated'].includes(String(answer.json['status'])),
    { timeoutMs: END_TIMEOUT_MS, everyMs: 200 },
  );
  return reply?.json ?? {};
}

/** The state in which a saga's orchestration ended, once it has: shortly after the saga. */
export async function endedOrchestration(app: TestApp, sagaId: string): Promise<unknown> {
  const reply = await until(
    () => app.http.get(`/runtime/webhooks/durabletask/instances/${sagaId}`),
    (answer) => !['Running', 'Pending'].includes(String(answer.json['runtimeStatus'])),
    { timeoutMs: END_TIMEOUT_MS },
  );
  return reply.json['runtimeStatus'];
}

/** The code of the error for which a saga was compensated, as it is written down. */
export async function reasonOf(app: TestApp, sagaId: string): Promise<unknown> {
  const rows = await onEveryShard(app, 'SELECT outcome FROM sagas WHERE saga_id = ?', [sagaId]);
  const outcome = JSON.parse(String(rows[0]?.['outcome'])) as { error?: { code?: unknown } };
  return outcome.error?.code;
}

/** The rows of a saga's steps over all shards, as `step: state result`, sorted. */
export async function ledgerOf(app: TestApp, sagaId: string): Promise<readonly string[]> {
  const rows = await onEveryShard(
    app,
    'SELECT step, state, result FROM saga_steps WHERE saga_id = ?',
    [sagaId],
  );
  return rows
    .map((row) => `${String(row['step'])}: ${String(row['state'])} ${String(row['result'])}`)
    .toSorted();
}

/** Throws when anything is held for a saga: reservations, locks, pending rows, sagas without an end. */
export async function expectNothingHeld(app: TestApp): Promise<void> {
  const held = await onEveryShard(
    app,
    `SELECT 'email' what, email id, saga_id FROM email_directory WHERE state = 'reserved'
     UNION ALL SELECT 'transfer', CAST(order_id AS CHAR), saga_id FROM order_transfers WHERE state IN (1, 2)
     UNION ALL SELECT 'order', CAST(order_id AS CHAR), '' FROM orders WHERE state IN (1, 2)
     UNION ALL SELECT status, kind, saga_id FROM sagas WHERE status NOT IN ('completed', 'compensated')`,
  );
  expect(held).toEqual([]);
}

/**
 * Starts the host again whenever it ended, until `isEnough`; it may be killed again while it starts. Throws when the next
 * kill does not come.
 */
export async function keepAlive(app: TestApp, isEnough: () => boolean): Promise<void> {
  for (let restarts = 0; !isEnough(); restarts += 1) {
    if (restarts > MOST_RESTARTS) throw new Error(`the host ended ${restarts} times`);
    const waiting = new AbortController();
    await Promise.race([app.ended(), tooLong(waiting.signal)]).finally(() => waiting.abort());
    await app.restart().catch((error: unknown) => console.log(`not started: ${String(error)}`));
  }
}

/** Far more than any test plans. */
const MOST_RESTARTS = 200;
/** Longer than the longest wait of a saga between two tries. */
const NEXT_KILL_TIMEOUT_MS = 90_000;

async function tooLong(signal: AbortSignal): Promise<never> {
  await sleep(NEXT_KILL_TIMEOUT_MS, undefined, { signal }).catch(() => undefined);
  throw new Error(`the host lived for ${NEXT_KILL_TIMEOUT_MS} ms where it was to be killed`);
}
