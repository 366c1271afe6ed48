import { APPLICATION_USER, DATABASE } from './servers/server-options.ts';
import { LOOPBACK } from './servers/ports.ts';

/** How the application reaches one shard: an element of its setting `SHARDS`. */
export interface ShardConnection {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly ssl: 'disabled';
}

/** The connection of a shard of ours. */
export function shardConnection(shard: {
  readonly name: string;
  readonly port: number;
  readonly password: string;
}): ShardConnection {
  return {
    name: shard.name,
    host: LOOPBACK,
    port: shard.port,
    user: APPLICATION_USER,
    password: shard.password,
    database: DATABASE,
    ssl: 'disabled',
  };
}

/**
 * The connection settings as a file: `SHARDS` and `AzureWebJobsStorage` for programs to read, and the
 * same under `Values` in the shape of `local.settings.json` (every value a string).
 */
export function connectionSettings(
  shards: readonly ShardConnection[],
  storageConnectionString: string,
): string {
  const settings = {
    IsEncrypted: false,
    Values: {
      FUNCTIONS_WORKER_RUNTIME: 'node',
      AzureWebJobsStorage: storageConnectionString,
      SHARDS: JSON.stringify(shards),
    },
    SHARDS: shards,
    AzureWebJobsStorage: storageConnectionString,
  };
  return `${JSON.stringify(settings, null, 2)}\n`;
}
