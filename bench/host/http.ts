import { drive, type Driven, inRounds } from '../drive.ts';
import { atLeast, type Line, lineOf } from '../lines.ts';
import { type BenchOptions, scaled } from '../options.ts';
import { someUser } from '../orders.ts';
import { figureOf } from '../figures.ts';
import { bareOrder, startBare } from './bare.ts';
import { createPost } from './requests.ts';
import type { HostWorld } from './world.ts';

const CALLERS = 32;
const AMOUNT = 4_999;
/** Both begin cold, and what a compiler does with a large program takes longer than one round. */
const WARM_UP_MS = 4_000;

/** An order over HTTP through the local host, beside a bare Node server that does its plain prepared INSERT. */
export async function benchHttp(world: HostWorld, options: BenchOptions): Promise<readonly Line[]> {
  const { users } = world;
  const { random, roundMs } = options;
  const host = await world.startHost();
  const bare = await startBare(world, { connections: CALLERS });
  const toHost = createPost(host.origin, CALLERS);
  const toBare = createPost(bare.origin, CALLERS);
  const product = (): Promise<string> =>
    toHost.post(`/api/users/${someUser(users, random)}/orders`, { amountCents: AMOUNT }, 201);
  const limit = (): Promise<string> =>
    toBare.post('/orders', bareOrder(world, someUser(users, random), AMOUNT), 201);
  try {
    const warmUpMs = scaled(options, WARM_UP_MS, roundMs);
    for (const work of [product, limit]) await drive(CALLERS, warmUpMs, work);
    const results = await inRounds(options, {
      product: () => drive(CALLERS, roundMs, product),
      limit: () => drive(CALLERS, roundMs, limit),
    });
    return linesOf(results);
  } finally {
    toHost.close();
    toBare.close();
    await host.stop();
  }
}

function linesOf(results: Readonly<Record<'product' | 'limit', readonly Driven[]>>): Line[] {
  const { product, limit } = results;
  const ratios = (of: keyof Driven): number[] =>
    product.map((driven, round) => driven[of] / (limit[round]?.[of] ?? Number.NaN));
  const median = (driven: readonly Driven[], of: keyof Driven): number =>
    figureOf(driven.map((one) => one[of])).median;
  const beside = {
    limit: 'bare Node server, plain INSERT',
    note: `${median(product, 'perSecond').toFixed(0)} of ${median(limit, 'perSecond').toFixed(0)} per s; p95 ${median(product, 'p95Ms').toFixed(1)} of ${median(limit, 'p95Ms').toFixed(1)} ms`,
  };
  const what = `an order over HTTP, ${CALLERS} at once`;
  return [
    lineOf({
      ...beside,
      what: `${what}: throughput`,
      ratios: ratios('perSecond'),
      target: atLeast(0.6),
    }),
    lineOf({ ...beside, what: `${what}: p95`, ratios: ratios('p95Ms') }),
  ];
}
