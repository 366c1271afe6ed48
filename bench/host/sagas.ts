import { drive, type Driven, inRounds } from '../drive.ts';
import { figureOf } from '../figures.ts';
import { type Line, lineOf } from '../lines.ts';
import { type BenchOptions, scaled } from '../options.ts';
import { createBareSagas } from './bare-sagas.ts';
import { createPost } from './requests.ts';
import { costOfSagas } from './saga-costs.ts';
import { createSagaStock } from './saga-stock.ts';
import type { HostWorld } from './world.ts';

const CALLERS = [1, 8];
const MOST_CALLERS = Math.max(...CALLERS);
/** Host and driver begin cold. */
const WARM_UP_MS = 2_000;
/** A bare transfer takes longer than this, so that a stock of orders lasts for a measure. */
const FASTEST_MS = 2;

/**
 * Registrations with a named id and transfers of orders, each over two shards, through HTTP and the local host, beside
 * their bare local transactions; and what one costs in durable actions and bytes of history.
 */
export async function benchSagas(
  world: HostWorld,
  options: BenchOptions,
): Promise<readonly Line[]> {
  const host = await world.startHost();
  const bare = createBareSagas(world, MOST_CALLERS);
  const toHost = createPost(host.origin, MOST_CALLERS);
  const stock = createSagaStock(world, options.random);
  const register = (): Promise<string> => toHost.post('/api/users', stock.registration(), 201);
  const transfer = (): Promise<string> => {
    const { orderId, fromUserId, toUserId } = stock.transfer();
    return toHost.post(`/api/orders/${orderId}/transfer`, { fromUserId, toUserId }, 200);
  };
  try {
    const lines = [...(await costOfSagas(world, host.origin, stock))];
    await drive(MOST_CALLERS, scaled(options, WARM_UP_MS, options.roundMs), register);
    for (const callers of CALLERS) {
      const driven = (work: () => Promise<unknown>) => async () => {
        await stock.fill((callers * options.roundMs) / FASTEST_MS);
        return drive(callers, options.roundMs, work);
      };
      const results = await inRounds(options, {
        register: driven(register),
        bareRegister: driven(() => bare.registerUser(stock.registration())),
        transfer: driven(transfer),
        bareTransfer: driven(() => bare.transferOrder(stock.transfer())),
      });
      lines.push(
        factorOf('register-user', callers, results.register, results.bareRegister),
        factorOf('transfer-order', callers, results.transfer, results.bareTransfer),
      );
    }
    return lines;
  } finally {
    toHost.close();
    await bare.close();
    await host.stop();
  }
}

/** How much longer one takes than its bare transactions. */
function factorOf(
  saga: string,
  callers: number,
  product: readonly Driven[],
  bare: readonly Driven[],
): Line {
  const eachMs = (driven: readonly Driven[]): string =>
    figureOf(driven.map(({ perSecond }) => (callers * 1_000) / perSecond)).median.toFixed(1);
  return lineOf({
    what: `${saga} over two shards, ${callers} at once: time`,
    limit: 'its bare local transactions',
    ratios: product.map(({ perSecond }, round) => (bare[round]?.perSecond ?? NaN) / perSecond),
    note: `${eachMs(product)} of ${eachMs(bare)} ms each`,
  });
}
