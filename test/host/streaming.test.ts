import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, expect, test } from 'vitest';
import { spawnHost, type SpawnedHost } from './support/spawn-host.ts';

let host: SpawnedHost;

beforeEach(async () => {
  host = await spawnHost({ app: 'esm-app' });
});

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Of the connection, on this side. */
  readonly port: number | undefined;
}

/** Sends a GET, or a POST of these parts, one by one when there are several. */
async function sendOver(
  agent: Agent,
  path: string,
  parts: readonly string[],
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const method = parts.length === 0 ? 'GET' : 'POST';
  const sent = request(`${host.origin}${path}`, { agent, method, headers });
  const answered = once(sent, 'response') as Promise<[IncomingMessage]>;
  const last = parts.at(-1);
  for (const part of parts.slice(0, -1)) {
    sent.write(part);
    await sleep(20);
  }
  sent.end(last);
  const [answer] = await answered;
  const port = answer.socket.localPort;
  let text = '';
  for await (const part of answer.setEncoding('utf8')) text += String(part);
  return { status: answer.statusCode, headers: answer.headers, text, port };
}

test('a large upload streams through, with route parameters and repeated query values', async () => {
  const chunk = new Uint8Array(1_000_000).fill(7);
  const hash = createHash('sha256');
  let sent = 0;
  const body = new ReadableStream({
    pull(controller) {
      if (sent === 40) controller.close();
      else controller.enqueue(chunk);
      if (sent < 40) hash.update(chunk);
      sent += 1;
    },
  });
  const response = await host.fetch('/digest/big?q=1&q=2', {
    method: 'POST',
    body,
    duplex: 'half',
  } as RequestInit);
  expect(await response.json()).toEqual({
    label: 'big',
    query: ['1', '2'],
    bytes: 40_000_000,
    sha256: hash.digest('hex'),
    url: `${host.origin}/digest/big?q=1&q=2`,
  });
});

test('a response arrives piece by piece, before the function has ended', async () => {
  const response = await host.fetch('/count/6');
  const times: number[] = [];
  let text = '';
  for await (const part of response.body ?? []) {
    times.push(performance.now());
    text += Buffer.from(part as Uint8Array).toString();
  }
  expect(text).toBe('1\n2\n3\n4\n5\n6\n');
  expect(times.length).toBeGreaterThan(2);
  expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThan(100);
});

test('an answer given without reading the upload arrives, cookies included', async () => {
  const response = await host.fetch('/early', { method: 'POST', body: Buffer.alloc(5_000_000) });
  expect([response.status, await response.text()]).toEqual([413, 'too much']);
  expect(response.headers.getSetCookie()).toEqual(['a=b']);
  expect(response.headers.get('x-ms-invocation-id')).toBeNull();
});

test('a failing handler is 500 with an empty body, a returned nothing is 204', async () => {
  const failed = await host.fetch('/fails');
  expect([failed.status, await failed.text()]).toEqual([500, '']);
  expect((await host.fetch('/nothing')).status).toBe(204);
});

test('a body that breaks half-way is seen as broken by the client', async () => {
  const response = await host.fetch('/cutShort');
  expect(response.status).toBe(200);
  await expect(response.text()).rejects.toThrow('terminated');
  expect((await host.fetch('/nothing')).status).toBe(204);
});

test('a client that goes away does not disturb the host', async () => {
  const abort = new AbortController();
  const response = await host.fetch('/count/1000', { signal: abort.signal });
  await response.body?.getReader().read();
  abort.abort();
  const next = await host.fetch('/count/1');
  expect(await next.text()).toBe('1\n');
});

test('an upload that breaks off is seen as broken by the function', async () => {
  const { hostname, port } = new URL(host.origin);
  const upload = request({
    hostname,
    port,
    path: '/tellsBroken',
    method: 'POST',
    headers: { 'content-length': 1_000 },
  });
  upload.on('error', () => undefined);
  upload.write(Buffer.alloc(10));
  await host.waitFor(/upload: 10 bytes/);
  upload.destroy();
  await host.waitFor(/upload: broken/);
  expect(host.output()).not.toContain('upload: whole');
  expect((await host.fetch('/nothing')).status).toBe(204);
});

test('many requests at once each get their own answer', async () => {
  const digests = await Promise.all(
    Array.from({ length: 60 }, async (_, n) => {
      const body = Buffer.alloc(n * 5_000, n);
      const response = await host.fetch(`/digest/${n}`, { method: 'POST', body });
      const { label, sha256 } = (await response.json()) as Record<string, unknown>;
      return [label, sha256 === createHash('sha256').update(body).digest('hex')];
    }),
  );
  expect(digests).toEqual(digests.map((_, n) => [String(n), true]));
});

test('small requests and answers keep their connection, and an answer in one piece tells its length', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const post = (path: string, body: string) => sendOver(agent, path, [body]);
  const answers = [
    await post('/digest/small', 'abc'),
    // Nobody reads its body, and the answer is made before anything was waited for.
    await post('/early', 'abc'),
    await post('/digest/empty', ''),
    await sendOver(agent, '/nothing', []),
    await post('/digest/small', 'abc'),
  ];
  agent.destroy();
  expect(answers.map(({ status }) => status)).toEqual([200, 413, 200, 204, 200]);
  expect(new Set(answers.map(({ port }) => port)).size).toBe(1);
  const [small, early, empty] = answers;
  expect(JSON.parse(small?.text ?? '')).toMatchObject({ bytes: 3 });
  expect(JSON.parse(empty?.text ?? '')).toMatchObject({ bytes: 0 });
  expect(small?.headers['content-length']).toBe(String(small?.text.length));
  expect([early?.text, early?.headers['content-length']]).toEqual(['too much', '8']);
});

test('a small body that comes after its head reaches the function, with and without a length', async () => {
  const parts = ['one ', 'two ', 'three'];
  const sha256 = createHash('sha256').update(parts.join('')).digest('hex');
  for (const headers of [{}, { 'content-length': String(parts.join('').length) }]) {
    const answer = await sendOver(new Agent(), '/digest/late', parts, headers);
    expect(JSON.parse(answer.text)).toMatchObject({ bytes: 13, sha256 });
  }
});

test('an ESM app can import the core API by its own name', async () => {
  const { names, same } = (await (await host.fetch('/core')).json()) as {
    names: string[];
    same: boolean;
  };
  expect(names).toEqual(expect.arrayContaining(['registerFunction', 'registerHook', 'log']));
  expect(same).toBe(true);
});

test('an answer given without reading the upload arrives every time, whatever its length', async () => {
  const statuses = [];
  for (let round = 0; round < 60; round++) {
    const body = Buffer.alloc(1_200_000 + round * 40_000);
    const response = await host.fetch('/early', { method: 'POST', body });
    await response.text();
    statuses.push(response.status);
  }
  expect(new Set(statuses).size).toBe(1);
  expect(statuses[0]).toBeLessThan(500);
});

test('an upload above the limit is 413, though the handler is still reading', async () => {
  const env = { FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '1000000' };
  const small = await spawnHost({ app: 'esm-app', env });
  const post = (bytes: number) =>
    small.fetch('/digest/x', { method: 'POST', body: Buffer.alloc(bytes) });
  expect((await post(1_000_000)).status).toBe(200);
  const large = await post(5_000_000).catch((error: unknown) => error);
  // The connection is cut while the client still sends, so it may see that instead of the answer.
  const status = large instanceof Response ? large.status : String(large);
  expect([413, 'TypeError: fetch failed']).toContain(status);
  expect((await post(10)).status).toBe(200);
});
