import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpClient } from '../http.ts';
import {
  changeEmail,
  find,
  lookAtTotal,
  place,
  placeWithKey,
  read,
  register,
  transfer,
} from './acts.ts';
import { feedQueue, ingestBatch } from './feeds.ts';
import type { Lane, StormWorld } from './world.ts';

export interface LoadOptions {
  /** Writers and readers at once. */
  readonly width: number;
  /** Instances that the lanes speak to by turns. */
  readonly instances: readonly HttpClient[];
  /** Between two acts of a lane. */
  readonly pauseMs: number;
  /** Orders of each batch and each round of the queue. */
  readonly batchOrders: number;
  readonly queueOrders: number;
}

/** Mixed writers and readers until `stop`, which waits for what they have begun. */
export function startLoad(world: StormWorld, options: LoadOptions): { stop(): Promise<void> } {
  let isOver = false;
  const until = async (act: () => Promise<void>, pauseMs: number): Promise<void> => {
    while (!isOver) {
      try {
        await act();
      } catch (error) {
        world.caller.fail('lane', String(error));
      }
      await sleep(pauseMs);
    }
  };
  const { instances, width, pauseMs } = options;
  const laneAt = (index: number): Lane => ({
    ...world,
    http: instances[index % instances.length] as HttpClient,
    other: instances[(index + 1) % instances.length] as HttpClient,
  });
  const running = [
    ...Array.from({ length: width }, (_, index) => until(() => act(laneAt(index)), pauseMs)),
    ...instances.map((_, index) => until(() => lookAtTotal(laneAt(index)), 300)),
    until(() => ingestBatch(world, options.batchOrders), 1_000),
    until(() => feedQueue(world, options.queueOrders), 500),
  ];
  return {
    stop: async () => {
      isOver = true;
      await Promise.all(running);
    },
  };
}

/** One of the acts, by chance: mostly orders and reads. */
async function act(lane: Lane): Promise<void> {
  const chance = lane.random.below(100);
  if (chance < 25) await place(lane);
  else if (chance < 45) await placeWithKey(lane);
  else if (chance < 65) await read(lane);
  else if (chance < 75) await find(lane);
  else if (chance < 87) await transfer(lane);
  else if (chance < 94) await register(lane);
  else await changeEmail(lane);
}

const WIDTH = 8;

/** Users, and orders of theirs by batch ingestion, so that there is something to move. */
export async function loadFirst(
  world: StormWorld,
  http: HttpClient,
  amount: { readonly users: number; readonly orders: number; readonly perBatch: number },
): Promise<void> {
  const lane: Lane = { ...world, http, other: http };
  let left = amount.users;
  const registerSome = async (): Promise<void> => {
    while (left-- > 0) await register(lane);
  };
  await Promise.all(Array.from({ length: WIDTH }, registerSome));
  for (let loaded = 0; loaded < amount.orders; loaded += amount.perBatch) {
    await ingestBatch(world, Math.min(amount.perBatch, amount.orders - loaded));
    console.log(`${world.book.orders.size} of ${amount.orders} orders loaded`);
  }
  if (world.caller.failures.length > 0) throw new Error(world.caller.failures.join('\n'));
}
