import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadInProcessApp } from './support/in-process-app.ts';
import { startTestHost, type TestHost } from './support/test-host.ts';

const { df } = loadInProcessApp();

df.app.orchestration('calls', function* (context) {
  const response = (yield context.df.callHttp(context.df.getInput())) as {
    statusCode: number;
    content: string;
  };
  return { status: response.statusCode, content: response.content };
});

let host: TestHost;
let server: Server;
let base: string;
let polls = 0;
const keys: (string | undefined)[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url === '/job') {
      response.writeHead(202, { location: '/job/1', 'retry-after': '0' }).end();
    } else if (request.url === '/job/1') {
      polls += 1;
      keys.push(request.headers['x-functions-key'] as string | undefined);
      if (polls < 3) response.writeHead(202, { location: '/job/1', 'retry-after': '0' }).end();
      else response.end('finished');
    } else {
      let body = '';
      request.on('data', (chunk) => (body += String(chunk)));
      request.on('end', () => {
        response.writeHead(418).end(`${request.method} ${request.headers['content-type']} ${body}`);
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  host = await startTestHost();
});
afterAll(async () => {
  await host.dispose();
  server.close();
});

describe('callHttp', () => {
  it('returns status and content, also of an error', async () => {
    const request = { method: 'POST', url: `${base}/echo`, body: { a: 1 } };
    expect((await host.run('calls', request)).output).toEqual({
      status: 418,
      content: 'POST text/plain {"a":1}',
    });
  });

  it('polls a 202 answer until the final one, without passing the function key on', async () => {
    const headers = { 'x-functions-key': 'secret' };
    const { output } = await host.run('calls', { method: 'GET', url: `${base}/job`, headers });
    expect(output).toEqual({ status: 200, content: 'finished' });
    expect(keys).toEqual([undefined, undefined, undefined]);
  });

  it('returns the 202 itself when polling is off', async () => {
    const request = { method: 'GET', url: `${base}/job`, enablePolling: false };
    expect((await host.run('calls', request)).output).toMatchObject({ status: 202 });
  });

  it('fails on network errors and on managed identities', async () => {
    const status = await host.run('calls', { method: 'GET', url: 'http://127.0.0.1:1/' });
    expect(status.output).toContain('Durable HTTP call failed');
    const identity = await host.run('calls', {
      method: 'GET',
      url: base,
      tokenSource: { resource: 'x', kind: 'AzureManagedIdentity' },
    });
    expect(identity.output).toContain('not available locally');
  });
});
