import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { until } from '../support/http.ts';

/**
 * What an ingestion costs in history and durable actions, measured in the store of the local host, whose history
 * has the events of the real extension (DESIGN 8: at most 12 KB per 1 000 orders).
 */
const BUDGET_BYTES = 12 * 1024;
/** TaskScheduled, SubOrchestrationInstanceCreated, TimerCreated (FACTS-host 5.2): one event per action. */
const SCHEDULED = '4, 7, 10';
const SIZES = [1_000, 4_000, 30_000];
const USERS = Array.from({ length: 30 }, (_, index) => String(1_001 + index));

let app: TestApp;
const ingestionIds = new Map<number, string>();

beforeAll(async () => {
  app = await startTestApp();
  for (const userId of USERS) {
    await app.http.post('/api/users', { userId, email: `u${userId}@example.com` });
  }
  for (const size of SIZES) ingestionIds.set(size, await ingest(size));
  // The host holds its store for itself while it runs.
  await app.kill();
});
afterAll(async () => {
  await app.restart();
  await app.stop();
});

test.each(SIZES)('%i orders stay within the budget of history', (size) => {
  const { bytes, actions } = historyOf(ingestionIds.get(size) ?? '');
  const perThousand = (value: number): number => Math.round((value / size) * 10_000) / 10;
  console.log(
    `${size} orders: per 1 000, ${perThousand(bytes)} bytes of history and ${perThousand(actions)} durable actions`,
  );
  expect(actions).toBeGreaterThan(0);
  expect(perThousand(bytes)).toBeLessThan(BUDGET_BYTES);
});

async function ingest(size: number): Promise<string> {
  const body = Array.from(
    { length: size },
    (_, index) => `${JSON.stringify({ userId: USERS[index % USERS.length], amountCents: 5 })}\n`,
  ).join('');
  const headers = { 'content-type': 'application/x-ndjson' };
  const startedMs = performance.now();
  const sent = await app.http.request('POST', '/api/orders/batch', { headers, body });
  const done = await until(
    () => app.http.get(String(sent.json['statusUrl'])),
    (reply) => reply.json['status'] !== 'running',
    { timeoutMs: 120_000 },
  );
  expect(done.json).toMatchObject({ status: 'completed', inserted: size });
  console.log(`${size} orders in ${Math.round(performance.now() - startedMs)} ms`);
  return String(sent.json['ingestionId']);
}

/** Of the ingestion and its lanes. Each of these batches ends before a lane begins a new history. */
function historyOf(ingestionId: string): { readonly bytes: number; readonly actions: number } {
  const store = new DatabaseSync(path.join(app.dataDir, 'durable.sqlite'));
  try {
    const sum = (text: string): number =>
      Number(store.prepare(text).get(ingestionId, `${ingestionId}:%`)?.['value'] ?? 0);
    const from = 'FROM history WHERE (instance_id = ? OR instance_id LIKE ?)';
    return {
      bytes: sum(`SELECT SUM(LENGTH(json)) AS value ${from}`),
      actions: sum(`SELECT COUNT(*) AS value ${from} AND json ->> '$.EventType' IN (${SCHEDULED})`),
    };
  } finally {
    store.close();
  }
}
