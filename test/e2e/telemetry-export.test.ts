import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { METRICS } from '../../src/kernel/telemetry-names.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { until } from '../support/http.ts';

interface Collector {
  readonly url: string;
  /** Path and body of what came. */
  readonly received: { readonly path: string; readonly body: string }[];
  close(): Promise<void>;
}

const running: Collector[] = [];
afterEach(async () => {
  for (const collector of running.splice(0)) await collector.close();
});

/** A collector on this machine; `answers: false` takes what comes and never says a word. */
async function startCollector({ answers }: { readonly answers: boolean }): Promise<Collector> {
  const received: Collector['received'] = [];
  const server: Server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (part: string) => (body += part));
    request.on('end', () => {
      received.push({ path: request.url ?? '', body });
      if (answers) response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const collector = {
    url: `http://127.0.0.1:${port}`,
    received,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  running.push(collector);
  return collector;
}

function startApp(endpoint: string): Promise<TestApp> {
  return startTestApp({
    shards: 1,
    settings: {
      TELEMETRY: 'otlp',
      TELEMETRY_SAMPLE_PERCENT: '100',
      TELEMETRY_METRIC_INTERVAL_MS: '1000',
      TELEMETRY_EXPORT_TIMEOUT_MS: '1000',
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
    },
  });
}

async function useApp(app: TestApp, orders: number): Promise<void> {
  const user = { userId: '9001', email: 'export@example.com' };
  expect((await app.http.post('/api/users', user)).status).toBe(201);
  for (let n = 0; n < orders; n++) {
    const reply = await app.http.post('/api/users/9001/orders', { amountCents: 100 + n });
    expect(reply.status).toBe(201);
  }
}

describe('exporters', () => {
  test('a collector gets spans and metrics, and what was not sent yet when the app stops', async () => {
    const collector = await startCollector({ answers: true });
    const app = await startApp(collector.url);
    try {
      await useApp(app, 3);
    } finally {
      await app.stop();
    }
    const sent = (path: string): string =>
      collector.received
        .filter((request) => request.path === path)
        .map(({ body }) => body)
        .join('\n');
    expect(sent('/v1/traces').match(/"name":"orders-place"/g)).toHaveLength(3);
    expect(sent('/v1/traces')).not.toContain('export@example.com');
    expect(sent('/v1/metrics')).toContain(METRICS.orderWrites.name);
  });

  test.each([
    ['refuses', false],
    ['never answers', true],
  ])('a collector that %s disturbs no request and holds up no end', async (_, silent) => {
    const collector = await startCollector({ answers: false });
    if (!silent) await collector.close();
    const app = await startApp(collector.url);
    const told = (): Promise<readonly string[]> =>
      Promise.resolve(app.output.filter((line) => line.includes('telemetry.export_failed')));
    try {
      await useApp(app, 20);
      await until(told, (lines) => lines.length > 0, { timeoutMs: 20_000 });
      expect((await app.http.get('/api/health/ready')).status).toBe(200);
    } finally {
      await app.stop();
    }
    expect(await told()).toHaveLength(1);
  });
});
