import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { UserId } from '../../src/kernel/ids.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { routeKey } from '../../src/sharding/router.ts';
import type { HostWorld } from './world.ts';

/** Beside the host: a process without any of its layers (`bare-child.ts`). */
export interface Bare {
  readonly origin: string;
  readonly pid: number;
}

export interface BareOptions {
  /** Connections to each server. */
  readonly connections: number;
  /** What it takes messages from, and how many at once; without, it serves HTTP alone. */
  readonly queue?: {
    readonly name: string;
    readonly batchSize: number;
    readonly newBatchThreshold: number;
  };
}

/** Starts it, and ends it with the world. */
export async function startBare(world: HostWorld, options: BareOptions): Promise<Bare> {
  const { connections, queue = { name: '', batchSize: 1, newBatchThreshold: 0 } } = options;
  const settings = {
    shards: world.shards,
    connections,
    storage: world.storageConnectionString,
    queue: queue.name,
    batchSize: queue.batchSize,
    newBatchThreshold: queue.newBatchThreshold,
  };
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'bare-child.ts')],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, BENCH_BARE: JSON.stringify(settings) },
    },
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  world.cleanUp(() => {
    child.kill('SIGKILL');
    return ended;
  });
  const origin = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (line) =>
      resolve((JSON.parse(line) as { origin: string }).origin),
    );
    void ended.then(() => reject(new Error('The bare server did not start.')));
  });
  return { origin, pid: child.pid as number };
}

/** An order for it, with everything looked up that the product looks up itself. */
export function bareOrder({ map }: HostWorld, userId: UserId, amountCents: number) {
  return { shard: routeKey(map, userId).shard, bucket: bucketOf(userId), userId, amountCents };
}
