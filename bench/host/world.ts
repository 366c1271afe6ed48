import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPool } from 'mysql2/promise';
import { type HostProcess, startHostProcess } from '../../local/host-process.ts';
import type { ShardConnection } from '../../local/shards/settings.ts';
import { loadConfig } from '../../src/config.ts';
import { createServices } from '../../src/create-services.ts';
import type { UserId } from '../../src/kernel/ids.ts';
import type { Services } from '../../src/services.ts';
import type { BucketMap } from '../../src/sharding/bucket-map.ts';
import { routeKey } from '../../src/sharding/router.ts';
import {
  quietLogger,
  registerUsers,
  type ServerOptions,
  settingsOf,
  someUserIds,
  withServers,
} from '../world.ts';

/** As many as `npm start` brings up. */
const SHARDS = 3;

/** Servers with production durability, storage, and the product's local host over them as a process of its own. */
export interface HostWorld {
  /** The product in this process, over the same servers. */
  readonly services: Services;
  readonly shards: readonly ShardConnection[];
  readonly storageConnectionString: string;
  readonly users: readonly UserId[];
  readonly map: BucketMap;
  /** Starts the product's app, or that of the folder `app`, and ends it with the world. `onLine` gets what it prints. */
  startHost(options?: {
    readonly settings?: Readonly<Record<string, string>>;
    readonly app?: string;
    readonly onLine?: (line: string) => void;
  }): Promise<HostProcess>;
  /** Runs at the end, the latest first. */
  readonly cleanUp: (step: () => Promise<unknown>) => void;
}

/** Starts everything but the host, runs `work`, and removes all of it. `npm run build` must have run. */
export async function withHostWorld<T>(
  options: ServerOptions,
  work: (world: HostWorld) => Promise<T>,
): Promise<T> {
  return withServers({ ...options, shards: SHARDS }, async (stack) => {
    const steps: (() => Promise<unknown>)[] = [];
    const cleanUp = (step: () => Promise<unknown>): void => void steps.unshift(step);
    const settings = settingsOf(stack);
    const services = createServices(loadConfig(settings), quietLogger());
    cleanUp(() => services.close());
    try {
      await services.database.prewarm();
      const map = await services.bucketMap.current();
      const users = someUserIds(options.random);
      await registerEach(stack.shards, users, map);
      return await work({
        services,
        shards: stack.shards,
        storageConnectionString: stack.storageConnectionString,
        users,
        map,
        startHost: async (host = {}) => {
          const dataDir = await mkdtemp(join(tmpdir(), 'shardline-bench-host-'));
          cleanUp(() => rm(dataDir, { recursive: true, force: true }));
          const process = await startHostProcess({
            port: 0,
            dataDir,
            ...host,
            settings: { ...settings, FUNCTIONS_WORKER_RUNTIME: 'node', ...host.settings },
          });
          cleanUp(() => process.stop());
          return process;
        },
        cleanUp,
      });
    } finally {
      for (const step of steps) await step();
    }
  });
}

async function registerEach(
  shards: readonly ShardConnection[],
  users: readonly UserId[],
  map: BucketMap,
): Promise<void> {
  for (const [id, { host, port, user, password, database }] of shards.entries()) {
    const pool = createPool({ host, port, user, password, database, connectionLimit: 1 });
    await registerUsers(
      pool,
      users.filter((userId) => routeKey(map, userId).shard === id),
    );
    await pool.end();
  }
}
