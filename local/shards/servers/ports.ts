import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { LocalShardsError } from '../errors.ts';

export const LOOPBACK = '127.0.0.1';

/**
 * Below the range from which systems take ports for outgoing connections (Linux: 32768–60999), so
 * that a stopped server's port is still free when it starts again.
 */
const FIRST_PORT = 20_000;
const LAST_PORT = 31_999;
const ATTEMPTS = 200;

/** True when a server could listen on this loopback port now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: LOOPBACK, exclusive: true }, () => {
      probe.close(() => resolve(true));
    });
  });
}

/** Picks a free loopback port at random, other than those in `taken`. */
export async function pickPort(taken: ReadonlySet<number>): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = randomInt(FIRST_PORT, LAST_PORT + 1);
    if (!taken.has(port) && (await isPortFree(port))) return port;
  }
  throw new LocalShardsError(`No free port between ${FIRST_PORT} and ${LAST_PORT}.`);
}
