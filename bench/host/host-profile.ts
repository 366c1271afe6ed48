import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { drive } from '../drive.ts';
import { readCount, readServerOptions, SERVER_OPTIONS } from '../options.ts';
import { someUser } from '../orders.ts';
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
    }),
  ),
  samples: z.array(z.int()),
  timeDeltas: z.array(z.int()),
});

type Profile = z.infer<typeof profileSchema>;
type Frame = Profile['nodes'][number]['callFrame'];

/** Prints the shares of the layers and the top frames, by the time spent in them and not below them. */
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
      for (const row of describe(profileSchema.parse(profile), orders)) console.log(row);
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

/** Whose code a frame is, by its file. The first that fits. */
const LAYERS: readonly (readonly [layer: string, files: RegExp, functions?: RegExp])[] = [
  ['idle', /^$/, /^\(idle\)$/],
  ['garbage collection', /^$/, /^\(garbage collector\)$/],
  ['system calls and V8 (program)', /^$/, /^\((program|root)\)$/],
  [
    'driver (mysql2)',
    /node_modules\/(mysql2|denque|lru\.min|long|sqlstring|named-placeholders|generate-function|iconv-lite)\//,
  ],
  ['platform library (@azure/functions)', /node_modules\/(@azure\/functions|undici|long|cookie)\//],
  ['validation (zod)', /node_modules\/zod\//],
  ['hashing and routing', /src\/sharding\/|internal\/crypto/],
  ['product: HTTP', /dist\/src\/http\//],
  ['product: database', /dist\/src\/database\//],
  ['product: orders', /dist\/src\/orders\//],
  ['product: the rest', /dist\/src\//],
  ['local host', /\/local\//],
  ['Node: HTTP', /node:_?(internal\/)?_?http|node:internal\/url|node:url/],
  [
    'Node: fetch classes',
    /node:internal\/deps\/undici|node:internal\/webstreams|node:buffer|node:internal\/blob/,
  ],
  [
    'Node: sockets and streams',
    /node:(internal\/)?(net|stream|streams)|node:internal\/stream_base/,
  ],
  ['Node: console and process output', /console|tty/],
  ['Node: the rest', /node:/],
  ['native functions', /^$/],
];

function layerOf({ url, functionName }: Frame): string {
  const found = LAYERS.find(
    ([, files, functions]) => files.test(url) && (functions?.test(functionName) ?? true),
  );
  return found?.[0] ?? 'the rest';
}

function describe(profile: Profile, orders: number): string[] {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
  const byLayer = new Map<string, number>();
  const byFrame = new Map<string, number>();
  let total = 0;
  profile.samples.forEach((id, index) => {
    const frame = frames.get(id);
    const us = profile.timeDeltas[index] ?? 0;
    if (frame === undefined) return;
    const layer = layerOf(frame);
    add(byLayer, layer, us);
    if (layer === 'idle') return;
    total += us;
    const file = frame.url.replace(/^.*\/(node_modules|dist|local)\//, '$1/');
    add(byFrame, `${frame.functionName || '(anonymous)'} ${file}:${frame.lineNumber + 1}`, us);
  });
  const row = ([name, us]: readonly [string, number]): string =>
    `  ${((us * 100) / total).toFixed(1).padStart(5)} %  ${(us / orders).toFixed(1).padStart(6)} µs  ${name}`;
  const idle = byLayer.get('idle') ?? 0;
  byLayer.delete('idle');
  return [
    `busy ${((total * 100) / (total + idle)).toFixed(0)} % of the time, ${(total / orders).toFixed(0)} µs per order; by layer:`,
    ...descending(byLayer).map(row),
    'top frames, without what they call:',
    ...descending(byFrame).slice(0, TOP).map(row),
  ];
}

function add(sums: Map<string, number>, name: string, value: number): void {
  sums.set(name, (sums.get(name) ?? 0) + value);
}

function descending(sums: ReadonlyMap<string, number>): [string, number][] {
  return [...sums].sort(([, a], [, b]) => b - a);
}
