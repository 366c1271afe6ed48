import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { onLoopback } from '../../local/host/app/loopback.ts';

const open: Server[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

/** The address on which a server comes to listen. */
function addressOf(listen: (server: Server, ready: () => void) => void): Promise<string> {
  const server = createServer();
  open.push(server);
  return new Promise((resolve) => {
    listen(server, () => resolve((server.address() as AddressInfo).address));
  });
}

test('a server that names no address gets loopback', async () => {
  const told: Server[] = [];
  const [bare, port, named] = await onLoopback(
    () =>
      Promise.all([
        addressOf((server, ready) => server.listen(ready)),
        addressOf((server, ready) => server.listen(0, ready)),
        addressOf((server, ready) => server.listen(0, '0.0.0.0', ready)),
      ]),
    (server) => told.push(server),
  );
  expect([bare, port, named]).toEqual(['127.0.0.1', '127.0.0.1', '0.0.0.0']);
  expect(told).toEqual(open.slice(0, 2));
});

test('servers opened later are left alone', async () => {
  await onLoopback(() => Promise.resolve());
  expect(await addressOf((server, ready) => server.listen(0, ready))).not.toBe('127.0.0.1');
});
