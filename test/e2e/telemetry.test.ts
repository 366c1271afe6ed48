import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ATTRIBUTES, METRICS, SPANS } from '../../src/kernel/telemetry-names.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { until } from '../support/http.ts';
import {
  createTelemetryApp,
  type SeenSpan,
  type TelemetryReport,
} from '../support/telemetry/report.ts';

const A = ATTRIBUTES;
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const CALLER = '00f067aa0ba902b7';
const traceparent = `00-${TRACE}-${CALLER}-01`;

const telemetry = createTelemetryApp();
let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ app: telemetry.app, settings: telemetry.settings });
});
afterAll(async () => {
  await app.stop();
  await telemetry.remove();
});

/** Waits until what was recorded has what the test is after. */
function recorded(isThere: (report: TelemetryReport) => boolean): Promise<TelemetryReport> {
  return until(() => telemetry.read(app.http), isThere, { timeoutMs: 30_000 });
}

/** From the root of the trace down to `span`. */
function pathTo(span: SeenSpan, spans: readonly SeenSpan[]): SeenSpan[] {
  const parent = spans.find(({ spanId }) => spanId === span.parentSpanId);
  return parent === undefined ? [span] : [...pathTo(parent, spans), span];
}

/** Inserts into one of our tables within a trace. */
function writesOf(traceId: string, table: string, spans: readonly SeenSpan[]): SeenSpan[] {
  return spans.filter(
    (span) =>
      span.traceId === traceId &&
      span.attributes[A.dbTable] === table &&
      span.attributes[A.dbOperation] === 'INSERT',
  );
}

/** Writes of a batch, in the trace of the queue's message. */
function packetsOf(spans: readonly SeenSpan[]): SeenSpan[] {
  const root = spans.find(({ name }) => name === 'orders-queue');
  return spans.filter(
    ({ name, traceId, attributes }) =>
      name === 'PACKET' && traceId === root?.traceId && attributes[A.rows] !== undefined,
  );
}

const users = { one: '71001', two: '71002' };
const emails = { one: 'grace.hopper@example.com', two: 'ada.lovelace@example.com' };

describe('one trace from end to end', () => {
  test('an order over HTTP reaches its statement in the caller’s trace, with shard and bucket', async () => {
    for (const name of ['one', 'two'] as const) {
      const user = { userId: users[name], email: emails[name] };
      expect((await app.http.post('/api/users', user)).status).toBe(201);
    }
    const placed = await app.http.post(
      `/api/users/${users.one}/orders`,
      { amountCents: 4_711 },
      { traceparent, 'idempotency-key': 'secret-key-of-a-caller' },
    );
    expect(placed.status).toBe(201);

    const { spans } = await telemetry.read(app.http);
    const [insert] = writesOf(TRACE, 'orders', spans);
    const way = pathTo(insert as SeenSpan, spans);
    expect(way.map(({ name }) => name)).toEqual(['orders-place', SPANS.onOwner, 'INSERT orders']);
    expect(way[0]).toMatchObject({
      parentSpanId: CALLER,
      attributes: {
        [A.trigger]: 'http',
        [A.httpMethod]: 'POST',
        [A.httpRoute]: 'users/{userId}/orders',
        [A.httpStatus]: 201,
      },
    });
    const bucket = bucketOf(users.one);
    expect(insert?.attributes).toMatchObject({
      [A.shard]: bucket % 3,
      [A.bucket]: bucket,
      [A.dbSystem]: 'mysql',
      [A.rows]: 1,
    });
    expect(String(insert?.attributes[A.dbText])).toContain('?');
    const names = spans.filter(({ traceId }) => traceId === TRACE).map(({ name }) => name);
    expect(names).toContain('INSERT idempotency_keys');
    expect(names).toContain('COMMIT');
    const line = app.output.find((text) => text.includes('"orders-place"') && text.includes(TRACE));
    expect(line).toContain('http.request_completed');
  });

  test('a batch from the queue reaches its packets through orchestration and activity', async () => {
    const orders = [users.one, users.two].map((userId) => ({ userId, amountCents: 300 }));
    await app.enqueue('orders', { orders, batchId: 'traced-batch' });
    await until(
      () => app.http.get('/api/ingestions/traced-batch'),
      (reply) => reply.json['status'] === 'completed',
      { timeoutMs: 60_000 },
    );
    // A span is told when it ends: the statement's before that of the activity it ran in.
    const { spans } = await recorded(
      (report) =>
        report.spans.some(({ attributes }) => attributes[A.trigger] === 'orchestration') &&
        packetsOf(report.spans).every(
          (packet) => pathTo(packet, report.spans)[0]?.name === 'orders-queue',
        ),
    );
    const root = spans.find(({ name }) => name === 'orders-queue') as SeenSpan;
    const packets = packetsOf(spans);
    expect(new Set(packets.map(({ attributes }) => attributes[A.shard]))).toEqual(
      new Set([users.one, users.two].map((id) => bucketOf(id) % 3)),
    );
    const way = pathTo(packets[0] as SeenSpan, spans);
    expect(way[0]).toMatchObject({ name: 'orders-queue', parentSpanId: null });
    const triggers = way.map(({ attributes }) => attributes[A.trigger]).filter(Boolean);
    expect(triggers).toEqual(['queue', 'activity']);
    const turns = spans.filter(
      ({ attributes, traceId }) =>
        traceId === root.traceId && attributes[A.trigger] === 'orchestration',
    );
    expect(turns.length).toBeGreaterThan(0);
    expect(turns[0]?.attributes[A.instance]).toBe(way[1]?.attributes[A.instance]);
  });

  test('a saga’s steps on different shards lie in the trace of the request, with its id', async () => {
    const far = ['72001', '72002', '72003', '72004'].find(
      (id) => bucketOf(id) % 3 !== bucketOf(users.one) % 3,
    );
    const trace = '0af7651916cd43dd8448eb211c80319c';
    const headers = { traceparent: `00-${trace}-${CALLER}-01` };
    const made = await app.http.post('/api/users', { userId: far, email: 'far@example.com' });
    expect(made.status).toBe(201);
    const order = await app.http.post(`/api/users/${users.one}/orders`, { amountCents: 5 });
    const moved = await app.http.post(
      `/api/orders/${String(order.json['orderId'])}/transfer`,
      { fromUserId: users.one, toUserId: far },
      headers,
    );
    expect(moved.status).toBe(200);
    const { spans } = await telemetry.read(app.http);
    const steps = spans.filter(({ name, traceId }) => name === SPANS.sagaStep && traceId === trace);
    expect(new Set(steps.map(({ attributes }) => attributes[A.saga]))).toEqual(
      new Set([moved.json['sagaId']]),
    );
    expect(steps.length).toBeGreaterThanOrEqual(4);
    const statements = spans.filter(
      ({ attributes, traceId }) => traceId === trace && attributes[A.sagaStep] !== undefined,
    );
    const shards = new Set(statements.map(({ attributes }) => attributes[A.shard]));
    expect(shards.has(bucketOf(users.one) % 3)).toBe(true);
    expect(shards.has(bucketOf(String(far)) % 3)).toBe(true);
  });
});

describe('what is told', () => {
  test('metrics: orders by outcome, statements and calls per shard, pools, circuits, queue', async () => {
    const missing = await app.http.post('/api/users/999/orders', { amountCents: 1 });
    expect(missing.status).toBe(404);
    const { metrics } = await recorded((report) =>
      report.metrics.some(({ name }) => name === METRICS.queueAge.name),
    );
    const sum = (name: string, attributes: Record<string, unknown>): number =>
      metrics
        .filter((series) => series.name === name)
        .filter((series) =>
          Object.entries(attributes).every(([key, value]) => series.attributes[key] === value),
        )
        .reduce((total, { value }) => total + value, 0);
    expect(sum(METRICS.orderWrites.name, { [A.source]: 'http', [A.outcome]: 'created' })).toBe(2);
    expect(sum(METRICS.orderWrites.name, { [A.source]: 'http', [A.outcome]: 'refused' })).toBe(1);
    expect(sum(METRICS.orderWrites.name, { [A.source]: 'batch', [A.outcome]: 'created' })).toBe(2);
    expect(sum(METRICS.orderWriteDuration.name, { [A.source]: 'http' })).toBe(3);
    expect(sum(METRICS.sagasEnded.name, { [A.outcome]: 'completed' })).toBeGreaterThanOrEqual(4);
    for (const shard of [0, 1, 2]) {
      expect(sum(METRICS.shardCalls.name, { [A.shard]: shard, [A.outcome]: 'ok' })).toBeGreaterThan(
        0,
      );
      expect(sum(METRICS.statementDuration.name, { [A.shard]: shard })).toBeGreaterThan(0);
      expect(sum(METRICS.poolWait.name, { [A.shard]: shard })).toBeGreaterThan(0);
      const limit = { [A.shard]: shard, [A.pool]: 'single', [A.state]: 'limit' };
      expect(sum(METRICS.poolConnections.name, limit)).toBe(16);
      expect(metrics).toContainEqual(
        expect.objectContaining({
          name: METRICS.circuit.name,
          attributes: { [A.shard]: shard },
          value: 0,
        }),
      );
    }
  });

  test('every attribute of a metric is one that its definition names', async () => {
    const { metrics } = await telemetry.read(app.http);
    const known = new Map(Object.values(METRICS).map((metric) => [metric.name as string, metric]));
    for (const { name, unit, attributes } of metrics) {
      const metric = known.get(name);
      expect(metric?.unit, name).toBe(unit);
      const allowed: readonly string[] = metric?.attributes ?? [];
      expect(
        Object.keys(attributes).filter((key) => !allowed.includes(key)),
        name,
      ).toEqual([]);
    }
  });

  test('no value of a statement, email, key or amount is in any span or metric', async () => {
    const unknown = await app.http.get(`/api/users?email=nobody.here%40example.com`);
    expect(unknown.status).toBe(404);
    const taken = await app.http.post('/api/users', { userId: '71003', email: emails.one });
    expect(taken.status).toBe(409);
    const conflicting = { userId: users.one, amountCents: 987_654, orderId: '1234567890123' };
    await app.enqueue('orders', { orders: [conflicting] });
    await app.queueDrained('orders');
    const report = await telemetry.read(app.http);
    const text = JSON.stringify(report);
    const secrets = [...Object.values(emails), 'nobody.here', 'far@example.com'];
    for (const secret of [
      ...secrets,
      'secret-key-of-a-caller',
      '987654',
      '1234567890123',
      '4711',
    ]) {
      const found = report.spans.filter((span) => JSON.stringify(span.attributes).includes(secret));
      expect(found.map(({ name }) => `${name}: ${secret}`)).toEqual([]);
    }
    for (const secret of secrets) expect(text).not.toContain(secret);
    expect(report.spans.filter(({ events }) => events > 0)).toEqual([]);
  });
});
