import { randomBytes } from 'node:crypto';
import { request as rawRequest } from 'node:http';
import { beforeEach, describe, expect, test } from 'vitest';
import { spawnHost, type SpawnedHost } from './support/spawn-host.ts';

let host: SpawnedHost;

beforeEach(async () => {
  host = await spawnHost({
    app: 'cjs-app',
    env: {
      'AzureWebJobs.switchedOff.Disabled': 'true',
      FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '500000',
    },
  });
});

/** Node's own client sends what `fetch` refuses: repeated headers, a body with GET. */
async function sendRaw(path: string, headers: Record<string, string | string[]>): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = rawRequest(`${host.origin}${path}`, { headers }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve(text));
    });
    request.on('error', reject);
    request.end();
  });
}

async function json(path: string, init?: RequestInit): Promise<Record<string, unknown>> {
  const response = await host.fetch(path, init);
  expect(response.status).toBe(200);
  return (await response.json()) as Record<string, unknown>;
}

describe('requests and responses', () => {
  test('bodies, headers, cookies, statuses and failures are mapped as in Azure', async () => {
    const bytes = randomBytes(100_000);
    const echo = await host.fetch('/api/echo', {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: bytes,
    });
    expect(Buffer.from(await echo.arrayBuffer()).equals(bytes)).toBe(true);
    expect(echo.headers.get('content-length')).toBe('100000');
    expect(echo.headers.get('content-type')).toBe('application/octet-stream');
    expect(echo.headers.get('x-app')).toBe('cjs');

    const head = await host.fetch('/api/echo', { method: 'HEAD' });
    expect([head.status, head.headers.get('x-seen')]).toEqual([200, 'yes']);

    const cookies = await host.fetch('/api/cookies');
    expect(cookies.status).toBe(201);
    expect(cookies.headers.getSetCookie()).toEqual([
      'plain=a%20b',
      'full=x; Max-Age=60; Domain=example.org; Path=/p; Expires=Tue, 01 Jan 2030 00:00:00 GMT; HttpOnly; Secure; SameSite=Strict',
      'cross=y; SameSite=None',
    ]);

    const made = await host.fetch('/api/response');
    expect([made.status, await made.text()]).toEqual([202, 'made by hand']);
    const nothing = await host.fetch('/api/nothing');
    expect([nothing.status, await nothing.text()]).toEqual([204, '']);
    for (const path of ['/api/fails', '/api/badStatus']) {
      const failed = await host.fetch(path);
      expect([failed.status, await failed.text()]).toEqual([500, '']);
    }
    expect(host.output()).toContain('http_function_failed function=fails message="secret detail"');

    const large = await host.fetch('/api/echo', { method: 'POST', body: Buffer.alloc(500_001) });
    expect(large.status).toBe(413);
  });

  test('query, parameters, repeated values and the absolute URL reach the function', async () => {
    const seen = await json('/api/inspect/J%C3%BCrgen?a=1&a=2&b=x%20y', {
      headers: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
    });
    expect(seen).toMatchObject({
      url: `${host.origin}/api/inspect/J%C3%BCrgen?a=1&a=2&b=x%20y`,
      method: 'GET',
      query: { a: '1,2', b: 'x y' },
      params: { name: 'Jürgen' },
      hasBody: false,
      traceParent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    });
    expect(await json('/api/inspect')).toMatchObject({ params: {} });
    const repeated = JSON.parse(await sendRaw('/api/inspect', { 'x-many': ['one', 'two'] })) as {
      headers: Record<string, string>;
    };
    expect(repeated.headers['x-many']).toBe('one,two');
  });

  test('routes choose by precedence, constraint and method, and everything else is 404', async () => {
    const chosen: Record<string, object> = {
      '/api/items/latest': { fn: 'itemLatest', params: {} },
      '/API/Items/LATEST': { fn: 'itemLatest', params: {} },
      '/api/items/42': { fn: 'itemById', params: { id: '42' } },
      '/api/items/blue': { fn: 'itemByName', params: { name: 'blue' } },
      '/api/pages': { fn: 'itemDefault', params: { page: 'first' } },
      '/api/pages/2': { fn: 'itemDefault', params: { page: '2' } },
      '/api/files/a.b.txt': { fn: 'file', params: { name: 'a.b', ext: 'txt' } },
      '/api/tree/x/y%2Fz/': { fn: 'rest', params: { path: 'x/y%2Fz' } },
      '/api/tree': { fn: 'rest', params: {} },
    };
    for (const [path, expected] of Object.entries(chosen)) {
      expect({ path, ...(await json(path)) }).toEqual({ path, ...expected });
    }
    for (const path of [
      '/api/items/0',
      '/api/items/a-b',
      '/api/nowhere',
      '/items/42',
      '/api/files/x',
      '/api/switchedOff',
    ]) {
      expect({ path, status: (await host.fetch(path)).status }).toEqual({ path, status: 404 });
    }
    expect((await host.fetch('/api/items/42', { method: 'DELETE' })).status).toBe(404);
    expect((await host.fetch('/')).status).toBe(200);
  });

  test('hooks see and change inputs, handler, result, error and log lines', async () => {
    expect(await json('/api/hooked')).toEqual({
      inputs: 2,
      name: 'hooked',
      order: ['pre1', 'pre2'],
    });
    const rescued = await host.fetch('/api/rescued');
    expect([rescued.status, await rescued.text()]).toEqual([200, 'rescued from trouble']);
    expect(host.output()).toContain('[hooked] my ******** is here');
    expect(host.output()).not.toContain('password');
    await host.signal('SIGTERM');
    expect(host.output()).toMatch(/hook appStart[\s\S]*hook appTerminate/);
  });
});

describe('administration', () => {
  test('lists functions, tells the status, and is open without --auth', async () => {
    expect(await json('/admin/host/status')).toMatchObject({ state: 'Running' });
    expect((await host.fetch('/admin/host/ping')).status).toBe(200);
    const functions = (await (await host.fetch('/admin/functions')).json()) as { name: string }[];
    expect(functions.map((fn) => fn.name)).toContain('itemById');
    expect(await json('/admin/functions/ItemById')).toMatchObject({
      name: 'itemById',
      language: 'node',
      isDisabled: false,
      invoke_url_template: `${host.origin}/api/items/{id:int:min(1)}`,
      config: { scriptFile: 'http.js' },
    });
    expect(await json('/admin/functions/switchedOff')).toMatchObject({ isDisabled: true });
    expect(await json('/admin/functions/echo/status')).toEqual({});
    expect((await host.fetch('/admin/functions/none')).status).toBe(404);
    const post = (name: string) => host.fetch(`/admin/functions/${name}`, { method: 'POST' });
    expect((await post('none')).status).toBe(404);
    expect((await post('echo')).status).toBe(400);
    expect((await host.fetch('/api/guarded')).status).toBe(200);
    expect((await host.fetch('/api/locked')).status).toBe(200);
    expect((await host.fetch('/runtime/webhooks/durabletask/instances/x')).status).toBe(404);
  });
});

describe('--auth', () => {
  test('asks for keys by header or query, and keeps them in the data folder', async () => {
    const args = ['--auth'];
    const secured = await spawnHost({ app: 'cjs-app', args });
    const key = (name: string) =>
      new RegExp(`^  ${name}: (\\S+)$`, 'm').exec(secured.output())?.[1] ?? '';
    const status = async (path: string, headers: Record<string, string> = {}) =>
      (await secured.fetch(path, { headers })).status;
    expect(await status('/api/echo')).toBe(200);
    expect(await status('/api/guarded')).toBe(401);
    expect(await status('/api/guarded?code=wrong')).toBe(401);
    expect(await status(`/api/guarded?code=${key('function')}`)).toBe(200);
    expect(await status('/api/guarded', { 'x-functions-key': key('master') })).toBe(200);
    expect(await status(`/api/guarded?code=${key('function')}`, { 'x-functions-key': 'bad' })).toBe(
      401,
    );
    expect(await status(`/api/locked?code=${key('function')}`)).toBe(401);
    expect(await status(`/api/locked?code=${key('master')}`)).toBe(200);
    expect(await status('/admin/functions')).toBe(401);
    expect(await status(`/admin/functions?code=${key('master')}`)).toBe(200);
    expect(await status('/admin/host/ping')).toBe(200);
    expect(await status('/runtime/webhooks/durabletask/instances/x')).toBe(401);

    const before = key('function');
    await secured.signal('SIGKILL');
    const again = await spawnHost({ app: 'cjs-app', args, dataDir: secured.dataDir });
    expect(again.output()).toContain(`  function: ${before}`);
  });
});
