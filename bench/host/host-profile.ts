import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { drive } from '../drive.ts';
import { readCount, readServerOptions, SERVER_OPTIONS } from '../options.ts';
import { someUser } from '../orders.ts';
import { describeShares, sharesOf } from '../profile-parts.ts';
import { ingestMs } from './ingestion.ts';
import { startInspectedHost, type InspectedHost } from './inspector.ts';
import { ordersQueue } from './queue.ts';
import { createPost } from './requests.ts';
import type { Random } from '../../test/support/random.ts';
import { withHostWorld, type HostWorld } from './world.ts';

export const HOST_PROFILE_HELP = `  host-profile       where the host's processor time goes while orders are placed
    --by WAY         http, 32 at once; queue, always full; batch, of 50 000, one after the other  (default http)
    --seconds N      how long                                           (default 10)
    --json FILE      write the profile there, for the tools of a browser (.cpuprofile)
`;

const CALLERS = 32;
const WARM_UP_MS = 4_000;
const BATCH = 50_000;
const TOP = 40;
const ROOT = path.resolve(import.meta.dirname, '../..');

/** Places orders for some milliseconds, and tells how many. */
type Run = (ms: number) => Promise<number>;

const LOADS: Readonly<Record<string, (world: HostWorld, random: Random, origin: string) => Run>> = {
  http: (world, random, origin) => {
    const { post } = createPost(origin, CALLERS);
    return async (ms) => {
      let orders = 0;
      await drive(CALLERS, ms, async () => {
        const path = `/api/users/${someUser(world.users, random)}/orders`;
        await post(path, { amountCents: 4_999 }, 201);
        orders += 1;
      });
      return orders;
    };
  },
  queue: (world, random) => {
    const queue = ordersQueue(world);
    return async (ms) => {
      await queue.createIfNotExists();
      let sent = 0;
      await drive(CALLERS, ms, async () => {
        const message = { userId: someUser(world.users, random), amountCents: 4_999 };
        await queue.sendMessage(Buffer.from(JSON.stringify(message)).toString('base64'));
        sent += 1;
      });
      return sent;
    };
  },
  batch: (world, random, origin) => async (ms) => {
    let orders = 0;
    await drive(1, ms, async () => {
      const users = Array.from({ length: BATCH }, () => someUser(world.users, random));
      await ingestMs({ origin }, users);
      orders += users.length;
    });
    return orders;
  },
};

const profileSchema = z.object({
  nodes: z.array(
    z.object({
      id: z.int(),
      callFrame: z.object({ functionName: z.string(), url: z.string(), lineNumber: z.int() }),
      children: z.array(z.int()).optional(),
    }),
  ),
  samples: z.array(z.int()),
  timeDeltas: z.array(z.int()),
});

/** Profiles the host while orders come in, and prints whose code took the time, and which functions most. */
export async function benchHostProfile(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      by: { type: 'string', default: 'http' },
      seconds: { type: 'string', default: '10' },
      ...SERVER_OPTIONS,
    },
  });
  const { json, ...options } = readServerOptions(values);
  const load = LOADS[values.by];
  if (load === undefined) throw new TypeError('--by takes http, queue or batch.');
  const ms = 1_000 * readCount('seconds', values.seconds, 600);
  await withHostWorld(options, async (world) => {
    const inspected = await startInspectedHost(world);
    const run = load(world, options.random, inspected.host.origin);
    try {
      await run(WARM_UP_MS);
      const stop = await startProfiler(inspected);
      const startedAtMs = performance.now();
      const orders = await run(ms);
      const seconds = (performance.now() - startedAtMs) / 1_000;
      const profile = await stop();
      console.log(`${(orders / seconds).toFixed(0)} orders per s, seed ${options.random.seed}`);
      const shares = sharesOf(profileSchema.parse(profile), { root: ROOT, frames: TOP });
      for (const row of describeShares(shares, orders)) console.log(row);
      if (json !== undefined) await writeFile(json, JSON.stringify(profile));
    } finally {
      inspected.close();
      await inspected.host.stop();
    }
  });
}

async function startProfiler({ ask }: InspectedHost): Promise<() => Promise<unknown>> {
  await ask('Profiler.enable');
  await ask('Profiler.setSamplingInterval', { interval: 500 });
  await ask('Profiler.start');
  return async () => z.object({ profile: z.unknown() }).parse(await ask('Profiler.stop')).profile;
}
