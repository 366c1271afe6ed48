import { setTimeout as sleep } from 'node:timers/promises';
import type { QueueClient } from '@azure/storage-queue';
import { z } from 'zod';
import type { UserId } from '../../src/kernel/ids.ts';
import { atMost, type Line, lineOf } from '../lines.ts';
import { type BenchOptions, scaled } from '../options.ts';
import { someUser } from '../orders.ts';
import { startInspectedHost, type InspectedHost } from './inspector.ts';
import { ordersQueue } from './queue.ts';
import { createPost, type Post } from './requests.ts';
import { fitLine, type Fit, type Point } from './trend.ts';
import type { HostWorld } from './world.ts';

const CALLERS = 8;
const MESSAGE_ORDERS = 5;
const BATCH_ORDERS = 2_000;
/** Between two messages, and between two batches, each with an orchestration of its own. */
const MESSAGE_PAUSE_MS = 100;
const BATCH_PAUSE_MS = 3_000;
const SAMPLES = 60;
const MOST_GROWTH = 1.01;
const MB = 1_048_576;

const usageSchema = z.object({
  result: z.object({
    value: z.object({
      rss: z.number(),
      heapUsed: z.number(),
      external: z.number(),
    }),
  }),
});

/**
 * Memory of the host under steady load: orders over HTTP with and without keys, pages, queue messages and batches. Flat
 * means: of the straight line through the second half of the samples, what is certain of its growth (slope less two
 * standard errors) is at most 1 % of the heap. Each sample is taken after a full garbage collection.
 */
export async function benchMemory(
  world: HostWorld,
  options: BenchOptions,
): Promise<readonly Line[]> {
  const ms = scaled(options, options.minutes * 60_000, 3_000);
  const inspected = await startInspectedHost(world);
  const load = startLoad(world, options, inspected.host.origin);
  try {
    const samples = await sample(inspected, ms, load.failed);
    const sent = await load.stop();
    return [lineOfSamples(samples, sent, ms)];
  } finally {
    await load.stop();
    inspected.close();
    await inspected.host.stop();
  }
}

interface Sample {
  readonly ms: number;
  /** Of V8 and of what hangs on it outside of it, bytes. */
  readonly heap: number;
  readonly rss: number;
}

async function sample(
  { ask }: InspectedHost,
  ms: number,
  failed: Promise<never>,
): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  const startedAtMs = performance.now();
  for (let n = 1; n <= SAMPLES; n++) {
    const waitMs = startedAtMs + (ms * n) / SAMPLES - performance.now();
    await Promise.race([sleep(Math.max(0, waitMs)), failed]);
    await ask('HeapProfiler.collectGarbage');
    const expression = 'process.memoryUsage()';
    const { value } = usageSchema.parse(
      await ask('Runtime.evaluate', { expression, returnByValue: true }),
    ).result;
    const { rss, heapUsed, external } = value;
    samples.push({ ms: performance.now() - startedAtMs, heap: heapUsed + external, rss });
  }
  return samples;
}

function lineOfSamples(samples: readonly Sample[], sent: number, ms: number): Line {
  const half = samples.slice(samples.length >> 1);
  const of = (key: 'heap' | 'rss'): { fit: Fit; perMinute: string } => {
    const fit = fitLine(half.map((one): Point => ({ x: one.ms / 60_000, y: one[key] / MB })));
    const perMinute = `${fit.slope.toFixed(2)} ± ${(2 * fit.slopeError).toFixed(2)} MB per minute`;
    return { fit, perMinute };
  };
  const [heap, rss] = [of('heap'), of('rss')];
  const from = (half[0]?.ms ?? 0) / 60_000;
  const minutes = (half.at(-1)?.ms ?? 0) / 60_000 - from;
  const before = heap.fit.at(from);
  const certain = Math.max(0, heap.fit.slope - 2 * heap.fit.slopeError) * minutes;
  return lineOf({
    what: `memory of the host, ${(ms / 60_000).toFixed(1)} minutes of load`,
    limit: 'its heap halfway',
    ratios: [(before + certain) / before],
    target: atMost(MOST_GROWTH),
    note: `heap ${before.toFixed(1)} MB, ${heap.perMinute}; RSS ${rss.fit.at(from).toFixed(0)} MB, ${rss.perMinute}; ${sent} orders`,
  });
}

/** Load under way, until it is to stop. */
interface Load {
  stopping: boolean;
  /** Orders. */
  sent: number;
  readonly seed: number;
  readonly origin: string;
  readonly post: Post;
  readonly user: () => UserId;
}

/** Load that goes on until it is stopped; `failed` rejects when some of it does. */
function startLoad(
  world: HostWorld,
  { random }: BenchOptions,
  origin: string,
): { readonly failed: Promise<never>; readonly stop: () => Promise<number> } {
  const { post, close } = createPost(origin, CALLERS + 1);
  const user = (): UserId => someUser(world.users, random);
  const load: Load = { stopping: false, sent: 0, seed: random.seed, origin, post, user };
  const all = Promise.all([
    ...Array.from({ length: CALLERS }, (_, caller) => placeAndList(load, caller)),
    sendMessages(load, ordersQueue(world)),
    sendBatches(load),
  ]);
  return {
    // Work that was stopped has not failed.
    failed: all.then(() => new Promise<never>(() => undefined)),
    stop: async () => {
      load.stopping = true;
      await all.finally(close);
      return load.sent;
    },
  };
}

async function placeAndList(load: Load, caller: number): Promise<void> {
  for (let n = 0; !load.stopping; n++) {
    const path = `/api/users/${load.user()}/orders`;
    const order = { amountCents: 100 + n };
    const key = `bench-${load.seed}-${caller}-${n}`;
    await load.post(path, order, 201);
    await load.post(path, order, 201, { 'idempotency-key': key });
    const page = await fetch(`${load.origin}${path}?limit=20`);
    await page.arrayBuffer();
    load.sent += 2;
  }
}

async function sendMessages(load: Load, queue: QueueClient): Promise<void> {
  await queue.createIfNotExists();
  while (!load.stopping) {
    const message = { orders: ordersOf(load, MESSAGE_ORDERS) };
    await queue.sendMessage(Buffer.from(JSON.stringify(message)).toString('base64'));
    load.sent += MESSAGE_ORDERS;
    await sleep(MESSAGE_PAUSE_MS);
  }
}

async function sendBatches(load: Load): Promise<void> {
  while (!load.stopping) {
    await load.post('/api/orders/batch', ordersOf(load, BATCH_ORDERS), 202);
    load.sent += BATCH_ORDERS;
    for (let ms = 0; ms < BATCH_PAUSE_MS && !load.stopping; ms += 100) await sleep(100);
  }
}

function ordersOf(load: Load, count: number): { userId: UserId; amountCents: number }[] {
  return Array.from({ length: count }, () => ({ userId: load.user(), amountCents: 8 }));
}
