import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { type Api, bucketMapReply, expectReply, rebalanceReply, revenueReply } from './api.ts';

/** Users whose orders keep coming; each order is of one cent, so that they can be told from all others in the total. */
const CUSTOMERS = ['500001', '500002', '500003', '500004', '500005', '500006'];
/** Orders under way at once. */
const WIDTH = 8;
/** A rebalance of this data takes well under a minute; one that takes this long is stuck. */
const STUCK_AFTER_MS = 300_000;
const PAGE = 1000;

export interface RebalanceChapter {
  readonly api: Api;
  /** Starts one more shard, and the app again with it, unless it is there from an earlier run. */
  readonly addShard: () => Promise<void>;
  readonly print: (line: string) => void;
}

/** Orders of this chapter from an earlier run: in the total of every later one. */
export async function countEarlierOrders(api: Api): Promise<number> {
  return (await ordersThere(api)).size;
}

/** Adds a shard while orders keep coming; gives what was wrong (empty: all right). */
export async function showRebalance(chapter: RebalanceChapter): Promise<string[]> {
  const { api, addShard, print } = chapter;
  await registerCustomers(api);
  await addShard();
  const plan = await showPlan(api, print);
  if (plan.moves.length === 0) {
    print('  The fourth shard joined in an earlier run.');
    await printShards(api, print);
    return [];
  }
  const before = await revenueOf(api);
  const load = startLoad(api);
  const wrong: string[] = [];
  try {
    await moveBuckets(chapter, plan.planHash, load);
  } finally {
    await load.stop();
  }
  const { placed, failures } = load;
  if (failures.length > 0) wrong.push(`${failures.length} orders failed, first: ${failures[0]}`);
  const there = await ordersThere(api);
  const lost = placed.filter((orderId) => !there.has(orderId)).length;
  if (lost > 0) wrong.push(`${lost} acknowledged orders are not there`);
  const after = await revenueOf(api);
  const gained = Number(after.totalCents - before.totalCents);
  if (gained !== placed.length || after.orders - before.orders !== placed.length) {
    wrong.push(`${placed.length} orders came in, but the total grew by ${gained} cents`);
  }
  print(
    `  ${placed.length} orders came in meanwhile, ${failures.length} failed, ${lost} are missing; the slowest took ${load.slowestMs.toFixed(0)} ms`,
  );
  await printShards(api, print);
  return wrong;
}

interface Load {
  readonly placed: string[];
  readonly failures: string[];
  slowestMs: number;
  /** Since it was last taken: how many, and the slowest. */
  take(): { readonly orders: number; readonly slowestMs: number };
  stop(): Promise<void>;
}

function startLoad(api: Api): Load {
  let going = true;
  let orders = 0;
  let slowestMs = 0;
  const lane = async (number: number): Promise<void> => {
    while (going) {
      const userId = CUSTOMERS[(number + load.placed.length) % CUSTOMERS.length] as string;
      const started = performance.now();
      // Not the client that comes back after a refusal: here a refusal counts.
      const reply = await api.sendOnce('POST', `/users/${userId}/orders`, { amountCents: 1 });
      const tookMs = performance.now() - started;
      if (reply.status === 201) load.placed.push(orderIdOf(reply.body));
      else load.failures.push(`${reply.status} ${JSON.stringify(reply.body)}`);
      orders += 1;
      slowestMs = Math.max(slowestMs, tookMs);
      load.slowestMs = Math.max(load.slowestMs, tookMs);
    }
  };
  const load: Load = {
    placed: [],
    failures: [],
    slowestMs: 0,
    take: () => {
      const taken = { orders, slowestMs };
      orders = 0;
      slowestMs = 0;
      return taken;
    },
    stop: async () => {
      going = false;
      await running;
    },
  };
  const running = Promise.all(Array.from({ length: WIDTH }, (_, number) => lane(number)));
  return load;
}

function orderIdOf(body: unknown): string {
  return z.object({ orderId: z.string() }).parse(body).orderId;
}

const planReply = z.object({ planHash: z.string(), moves: z.array(z.unknown()) });

async function showPlan(
  api: Api,
  print: (line: string) => void,
): Promise<z.infer<typeof planReply>> {
  const reply = await api.send('POST', '/ops/rebalance', { dryRun: true });
  const plan = expectReply(reply, [200], planReply, 'the plan');
  print(`  plan ${plan.planHash.slice(0, 12)}…: ${plan.moves.length} of 1024 buckets move`);
  return plan;
}

/** Approves the plan, and prints one line per second until all buckets are where they belong. */
async function moveBuckets(
  { api, print }: RebalanceChapter,
  planHash: string,
  load: Load,
): Promise<void> {
  const started = await api.send('POST', '/ops/rebalance', { planHash });
  const accepted = z.object({ rebalanceId: z.string() });
  const { rebalanceId } = expectReply(started, [202], accepted, 'the rebalance');
  const deadline = performance.now() + STUCK_AFTER_MS;
  for (;;) {
    await sleep(1000);
    const reply = await api.send('GET', `/ops/rebalances/${rebalanceId}`);
    const run = expectReply(reply, [200], rebalanceReply, 'the rebalance');
    const { orders, slowestMs } = load.take();
    const { bucketsDone, buckets } = run.progress;
    print(
      `  ${String(bucketsDone).padStart(4)}/${buckets} buckets   ${String(orders).padStart(4)} writes/s   slowest ${slowestMs.toFixed(0).padStart(4)} ms`,
    );
    if (run.status === 'completed') {
      printStalls(run.moves, print);
      return;
    }
    if (run.status !== 'running' && run.status !== 'planned') {
      throw new Error(`the rebalance ended ${run.status}: ${JSON.stringify(reply.body)}`);
    }
    if (performance.now() > deadline) throw new Error('the rebalance does not get on');
  }
}

function printStalls(
  moves: readonly { readonly stallMs: number | null }[],
  print: (line: string) => void,
): void {
  const stalls = moves.flatMap(({ stallMs }) => stallMs ?? []).toSorted((a, b) => a - b);
  const at = (share: number): string =>
    (stalls[Math.min(stalls.length - 1, Math.floor(stalls.length * share))] ?? 0).toFixed(0);
  print(
    `  writers of a bucket waited for its switch: half of them under ${at(0.5)} ms, 95 % under ${at(0.95)} ms, at most ${at(1)} ms`,
  );
}

async function registerCustomers(api: Api): Promise<void> {
  for (const userId of CUSTOMERS) {
    const user = { userId, email: `regular-${userId}@shardline.example` };
    const key = { 'idempotency-key': `demo-regular-${userId}` };
    const reply = await api.send('POST', '/users', user, key);
    expectReply(reply, [200, 201], z.object({ userId: z.string() }), 'registration');
  }
}

async function ordersThere(api: Api): Promise<ReadonlySet<string>> {
  const page = z.object({
    orders: z.array(z.object({ orderId: z.string() })),
    nextCursor: z.string().nullable(),
  });
  const ids = new Set<string>();
  for (const userId of CUSTOMERS) {
    for (let cursor: string | null = ''; cursor !== null;) {
      const next: string = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
      const reply = await api.send('GET', `/users/${userId}/orders?limit=${PAGE}${next}`);
      if (reply.status === 404) break;
      const { orders, nextCursor } = expectReply(reply, [200], page, 'orders');
      for (const { orderId } of orders) ids.add(orderId);
      cursor = nextCursor;
    }
  }
  return ids;
}

async function revenueOf(
  api: Api,
): Promise<{ readonly totalCents: bigint; readonly orders: number }> {
  const reply = await api.send('GET', '/revenue');
  const { totalCents, orders } = expectReply(reply, [200], revenueReply, 'revenue');
  return { totalCents: BigInt(totalCents), orders };
}

async function printShards(api: Api, print: (line: string) => void): Promise<void> {
  const map = expectReply(await api.send('GET', '/ops/bucket-map'), [200], bucketMapReply, 'map');
  const owned = map.shards.map(
    ({ id, name }) => `${name} ${map.assignment.filter((owner) => owner === id).length}`,
  );
  print(`  buckets: ${owned.join(', ')} (map version ${map.version})`);
}
