import { Session } from 'node:inspector/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { writeFile } from 'node:fs/promises';
import functions, { type HttpHandler } from '@azure/functions';
import { registerRoutes } from '../src/http/handler.ts';
import { ordersRoutes } from '../src/orders/http.ts';
import { drive, type Driven } from './drive.ts';
import { readCount, readServerOptions, SERVER_OPTIONS } from './options.ts';
import { someUser } from './orders.ts';
import { describeShares, type Profile, sharesOf } from './profile-parts.ts';
import { type World, withWorld } from './world.ts';

export const PROFILE_HELP = `  profile     where the processor's time of the hot write path goes
    --ms N           how long it is profiled, milliseconds              (default 4000)
    --callers N      at once                                            (default 64)
    --engine ENGINE  mysql or mariadb                                   (default mysql)
    --seed N         of users
    --json FILE      write V8's profile there (opens in browsers' tools, as *.cpuprofile)
`;

const ROUTE = 'orders-place';
const WARM_UP_MS = 1_500;
const SAMPLE_MICROS = 250;
const TOP = 20;

/**
 * Profiles this process while callers place orders by the function that the host calls: request object, validation,
 * hashing, map, group, driver, answer. Not in it: the host and its connection to the worker.
 */
export async function benchProfile(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      ms: { type: 'string', default: '4000' },
      callers: { type: 'string', default: '64' },
      ...SERVER_OPTIONS,
    },
  });
  const { json, ...options } = readServerOptions(values);
  const ms = readCount('ms', values.ms, 60_000);
  const callers = readCount('callers', values.callers, 1_000);
  await withWorld(options, async (world) => {
    const place = placing(world, () => someUser(world.users, options.random));
    await drive(callers, Math.min(ms, WARM_UP_MS), place);
    const { driven, micros, profile } = await profiled(() => drive(callers, ms, place));
    const shares = sharesOf(profile, {
      root: path.resolve(import.meta.dirname, '..'),
      frames: TOP,
    });
    const orders = (driven.perSecond * ms) / 1_000;
    console.log(
      `${callers} callers: ${driven.perSecond.toFixed(0)} orders per s, ${(micros / orders).toFixed(0)} µs of processor time each, with the profiler's`,
    );
    for (const row of describeShares(shares, orders)) console.log(row);
    if (json !== undefined) await writeFile(json, JSON.stringify(profile));
  });
}

/** Calls the function as the host does, with a request of its own each time. */
function placing({ services }: World, nextUser: () => string): () => Promise<void> {
  const handlers = new Map<string, HttpHandler>();
  registerRoutes(
    { http: (name, { handler }) => void handlers.set(name, handler) },
    services,
    ordersRoutes.filter(({ name }) => name === ROUTE),
  );
  const handler = handlers.get(ROUTE);
  if (handler === undefined) throw new TypeError(`There is no function ${ROUTE}.`);
  const body = JSON.stringify({ amountCents: 4_999 });
  return async () => {
    const userId = nextUser();
    const request = new functions.HttpRequest({
      method: 'POST',
      url: `http://localhost/api/users/${userId}/orders`,
      headers: { 'content-type': 'application/json' },
      params: { userId },
      body: { string: body },
    });
    const context = new functions.InvocationContext({ functionName: ROUTE });
    const reply = await handler(request, context);
    if ((reply as { status?: number }).status !== 201) throw new TypeError(JSON.stringify(reply));
  };
}

interface Profiled {
  readonly driven: Driven;
  /** Processor time of the process, microseconds. */
  readonly micros: number;
  readonly profile: Profile;
}

async function profiled(work: () => Promise<Driven>): Promise<Profiled> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: SAMPLE_MICROS });
    await session.post('Profiler.start');
    const before = process.cpuUsage();
    const driven = await work();
    const { user, system } = process.cpuUsage(before);
    const { profile } = await session.post('Profiler.stop');
    return { driven, micros: user + system, profile };
  } finally {
    session.disconnect();
  }
}
