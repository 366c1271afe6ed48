import { z } from 'zod';
import { PermanentError } from './kernel/errors.ts';
import { isNcrontab } from './kernel/ncrontab.ts';
import { MAX_SHARDS } from './sharding/bucket-map.ts';

/**
 * The application settings. Each is checked once, at start-up; a bad value stops the app with a message that
 * names the setting and what it takes. This is the only file that reads the environment.
 */

const shardSettings = z
  .strictObject({
    /** Stable name; the bucket map and the shard itself remember it. */
    name: z
      .string()
      .regex(/^[a-zA-Z0-9][a-zA-Z0-9-]{0,63}$/, 'letters, digits and hyphens, 1 to 64'),
    host: z.string().min(1),
    port: z.int().min(1).max(65_535).default(3306),
    user: z.string().min(1),
    password: z.string().optional(),
    database: z.string().regex(/^[a-zA-Z0-9_$]{1,64}$/, 'a MySQL schema name'),
    auth: z.enum(['password', 'entra']).default('password'),
    ssl: z.enum(['required', 'disabled']).default('required'),
    /** PEM text of an extra root; Azure's roots are among Node's own. */
    ca: z.string().optional(),
  })
  // A token works on every server of the tenant that knows this identity, so it goes to nobody else.
  .refine((shard) => shard.auth !== 'entra' || shard.ssl === 'required', {
    path: ['ssl'],
    error:
      'must be "required" with auth "entra": the sign-in token is sent as it is and needs an encrypted connection',
  })
  .refine((shard) => shard.auth !== 'entra' || shard.password === undefined, {
    path: ['password'],
    error: 'does not go with auth "entra", which signs in with a token; remove one of the two',
  });

/** One shard of `SHARDS`; its position is its id. */
export type ShardSettings = z.infer<typeof shardSettings>;

const shardsText = z
  .string({ error: 'is missing: a JSON array with one object per shard is expected' })
  .transform((text, context) => {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      context.addIssue('is not JSON: a JSON array with one object per shard is expected');
      return z.NEVER;
    }
  })
  .pipe(
    z
      .array(shardSettings)
      .min(1)
      .max(MAX_SHARDS)
      .refine((shards) => new Set(shards.map((shard) => shard.name)).size === shards.length, {
        error: 'each shard needs a name of its own',
      }),
  );

/** A whole number given as text, within bounds. */
function count(fallback: number, min: number, max: number) {
  return z
    .string()
    .regex(/^\d+$/, `a whole number ${min} … ${max} is expected`)
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .default(fallback);
}

function flag(fallback: boolean) {
  return z
    .enum(['true', 'false'])
    .transform((text) => text === 'true')
    .default(fallback);
}

/** Patterns of tables, separated by commas; the policy of maintenance reads them (`maintenance/patterns.ts`). */
function tablePatterns(fallback: string) {
  return z
    .string()
    .max(4_000)
    .regex(
      /^\s*([\w$*?-]+(\.[\w$*?-]+)?(:(analyze|histogram|rebuild))?\s*(,\s*|$))*$/,
      'patterns [schema.]table[:analyze|histogram|rebuild], separated by commas, are expected; * and ? stand for any characters and any one',
    )
    .default(fallback);
}

function columnList(fallback: string) {
  return z
    .string()
    .max(4_000)
    .regex(
      /^\s*([\w$]+\.[\w$]+\s*(,\s*|$))*$/,
      'columns table.column, separated by commas, are expected',
    )
    .default(fallback);
}

function schedule(fallback: string) {
  return z
    .string()
    .refine(isNcrontab, {
      error:
        'six fields are expected, second minute hour day month day-of-week, such as 0 0 2 * * * (02:00 every day)',
    })
    .default(fallback);
}

const settings = z.object({
  SHARDS: shardsText,
  AzureWebJobsStorage: z.string().min(1).optional(),
  AzureWebJobsStorage__accountName: z.string().min(1).optional(),
  AzureWebJobsStorage__blobServiceUri: z.url().optional(),
  AzureWebJobsStorage__queueServiceUri: z.url().optional(),
  AzureWebJobsStorage__clientId: z.string().min(1).optional(),
  /**
   * Client id of the user-assigned identity that signs in to shards with `auth: "entra"`; without it that of the storage
   * account. The name is the one that Azure's identity library knows.
   */
  AZURE_CLIENT_ID: z.string().min(1).optional(),
  /** Which tables are maintained: patterns `[schema.]table[:action]`, or `registered` for those this build knows. */
  MAINTENANCE_INCLUDE: tablePatterns('registered'),
  /** Stronger than MAINTENANCE_INCLUDE. */
  MAINTENANCE_EXCLUDE: tablePatterns(''),
  /** Columns that get a histogram (MySQL): none by default, as all look-ups go through indexes (FACTS-mysql 6). */
  MAINTENANCE_HISTOGRAMS: columnList(''),
  /** ANALYZE from this share of changed rows, percent: what InnoDB itself takes as the limit. */
  MAINTENANCE_ANALYZE_PERCENT: count(10, 1, 100),
  /** Fewer changed rows mislead no plan. */
  MAINTENANCE_ANALYZE_MIN_ROWS: count(500, 1, 1_000_000_000),
  /** ANALYZE of what has changed at all, at this age of the statistics. */
  MAINTENANCE_ANALYZE_MAX_AGE_HOURS: count(30 * 24, 1, 10 * 365 * 24),
  MAINTENANCE_HISTOGRAM_MAX_AGE_HOURS: count(7 * 24, 1, 10 * 365 * 24),
  /** Rebuild from this share of wasted pages: below, tables that grow refill them by themselves. */
  MAINTENANCE_REBUILD_WASTE_PERCENT: count(40, 5, 95),
  /** Already from this share, where it is at least MAINTENANCE_REBUILD_WASTED_MB. */
  MAINTENANCE_REBUILD_MEDIUM_PERCENT: count(25, 5, 95),
  MAINTENANCE_REBUILD_WASTED_MB: count(1_024, 1, 1_000_000),
  /** Smaller tables are not rebuilt: they fit into memory with all their waste. */
  MAINTENANCE_REBUILD_MIN_MB: count(64, 0, 1_000_000),
  /** Between two rebuilds of a table: one that is wasted again at once is not cured by them. */
  MAINTENANCE_REBUILD_PAUSE_HOURS: count(7 * 24, 0, 10 * 365 * 24),
  /** Tables of a shard looked at in detail, largest first: some ten milliseconds per hundred. */
  MAINTENANCE_MAX_TABLES: count(500, 20, 5_000),
  /** How long a unit waits for another's run on the same database; 0: it is skipped. */
  MAINTENANCE_LOCK_WAIT_MS: count(0, 0, 600_000),
  /** No rebuild while a transaction is older than this: it may hold the table, and everybody would queue behind it. */
  MAINTENANCE_LONG_TRANSACTION_SECONDS: count(20, 1, 86_400),
  /** The server's lock_wait_timeout of a unit, which is also how long all others wait behind it at most (FACTS-mysql 6). */
  MAINTENANCE_METADATA_WAIT_SECONDS: count(1, 1, 30),
  /** A statement that makes others wait for longer is ended. */
  MAINTENANCE_MAX_BLOCK_MS: count(3_000, 100, 600_000),
  /** No statement runs for longer, whatever the window. */
  MAINTENANCE_STATEMENT_MAX_MS: count(2 * 3_600_000, 1_000, 12 * 3_600_000),
  /** Nothing heavy on a replica that is further behind. */
  MAINTENANCE_MAX_LAG_SECONDS: count(30, 0, 86_400),
  /** Nothing begins while the shard is busier than this; the reasons are those of REBALANCE_MAX_…. */
  MAINTENANCE_MAX_THREADS_RUNNING: count(40, 1, 10_000),
  MAINTENANCE_MAX_PROBE_MS: count(250, 1, 60_000),
  MAINTENANCE_MAX_HISTORY: count(1_000_000, 1_000, 1_000_000_000),
  /** A move that has written nothing for this long is paused, and in nobody's way. */
  MAINTENANCE_MOVE_QUIET_MS: count(10 * 60_000, 1_000, 24 * 3_600_000),
  /** Storage of each server; 0: unknown. No server tells it by SQL. */
  MAINTENANCE_STORAGE_MB: count(0, 0, 1_000_000_000),
  /** Without it, a table up to this size is rebuilt all the same; 0: none. */
  MAINTENANCE_UNKNOWN_DISK_MAX_MB: count(1_024, 0, 1_000_000),
  /** Forecasts look at the last runs; people at last season's. */
  MAINTENANCE_LOG_RETENTION_HOURS: count(90 * 24, 1, 10 * 365 * 24),
  /** When maintenance runs (NCRONTAB, UTC unless the host is told otherwise): at the quietest hour. */
  MAINTENANCE_SCHEDULE: schedule('0 0 2 * * *'),
  /** After this long nothing is begun any more: what is left goes first in the next run. */
  MAINTENANCE_WINDOW_MINUTES: count(180, 1, 24 * 60),
  /** Shards worked on at once, each with one heavy statement: what they share (disks, network, callers) sets the limit. */
  MAINTENANCE_SHARDS_AT_ONCE: count(1, 1, 16),
  /** Tries of a unit in one run when something passing is in its way: a move, a long transaction, another's run. */
  MAINTENANCE_UNIT_TRIES: count(3, 1, 20),
  MAINTENANCE_RETRY_MS: count(300_000, 100, 3_600_000),
  /** Reports of runs, and all else that is kept of them, are deleted after this long. */
  MAINTENANCE_REPORT_DAYS: count(90, 1, 3_650),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  /** Connections per shard for single rows and point reads: group commit still gained at 16 (FACTS-mysql 2b). */
  SHARD_POOL_SIZE: count(16, 1, 200),
  /** Connections per shard for batches: best at two, as many as a small server has cores (FACTS-mysql 2b). */
  SHARD_BATCH_POOL_SIZE: count(2, 1, 32),
  /** Callers that may wait for a connection before they are told 429/503. */
  SHARD_POOL_QUEUE: count(1000, 1, 100_000),
  SHARD_ACQUIRE_TIMEOUT_MS: count(5_000, 10, 60_000),
  SHARD_CONNECT_TIMEOUT_MS: count(5_000, 100, 60_000),
  SHARD_STATEMENT_TIMEOUT_MS: count(15_000, 100, 300_000),
  /** On-demand instances that one scaling group may have (the platform's limit is per group), for the connection budget. */
  MAX_INSTANCES: count(1, 1, 1000),
  /** Functions that scale out on their own: on Flex all of HTTP, all of Durable, and each queue function. */
  SCALING_GROUPS: count(1, 1, 100),
  /** Instances beyond these: always-ready ones do not count towards the limit, and each timer runs on one of its own. */
  EXTRA_INSTANCES: count(0, 0, 1000),
  /** Share of each server's max_connections that all instances together may use, percent. */
  CONNECTION_SHARE_PERCENT: count(80, 1, 100),
  /** Apply missing migrations on first use of a shard. Off where the deployment applies them. */
  MIGRATE_ON_START: flag(true),
  REQUEST_DEADLINE_MS: count(10_000, 100, 200_000),
  BUCKET_MAP_CACHE_MS: count(5_000, 0, 3_600_000),
  WORKER_LEASE_SECONDS: count(30, 15, 60),
  CIRCUIT_FAILURES: count(5, 1, 1000),
  CIRCUIT_OPEN_MS: count(2_000, 10, 300_000),
  BATCH_MAX_BYTES: count(100 * 1024 * 1024, 1, 1024 * 1024 * 1024),
  BATCH_MAX_ORDERS: count(1_000_000, 1, 1_000_000),
  INGEST_CHUNK_ROWS: count(2_000, 1, 10_000),
  /**
   * Of a batch's bytes, how many one activity cuts into chunks while the ones before are written: some 50 000 orders,
   * one read of storage; the first time a quarter. More than 8 shards share a multiple of it, so that each has some
   * full chunks. The least is more than any line.
   */
  INGEST_SEGMENT_BYTES: count(4 * 1024 * 1024, 128 * 1024, 256 * 1024 * 1024),
  /** writeChunk activities of one ingestion at once, over all shards / per shard. */
  INGEST_MAX_CHUNKS: count(8, 1, 64),
  INGEST_MAX_CHUNKS_PER_SHARD: count(2, 1, 16),
  INGEST_CHUNK_DELAY_MS: count(0, 0, 60_000),
  INGEST_CHUNK_DEADLINE_MS: count(60_000, 1_000, 240_000),
  /** How long a queue order whose shard is away is put off before it counts as failed. */
  INGEST_DEFER_MAX_MS: count(6 * 3_600_000, 1_000, 6 * 24 * 3_600_000),
  REVENUE_MAX_SHARDS_AT_ONCE: count(8, 1, 64),
  REVENUE_CHUNK_BUCKETS: count(64, 1, 1024),
  REVENUE_DEADLINE_MS: count(30_000, 1_000, 200_000),
  /** How long one delivery of a saga's step goes on trying before the saga waits and delivers it again. */
  SAGA_STEP_DEADLINE_MS: count(5_000, 100, 120_000),
  /** A saga must reach its pivot in this time, or it compensates. */
  SAGA_DEADLINE_MS: count(60_000, 1_000, 3_600_000),
  /** When the sweep runs (NCRONTAB). */
  SAGA_SWEEP_SCHEDULE: schedule('30 * * * * *'),
  /** A saga, reservation or lock that has not moved for this long is looked at by the sweep. */
  SAGA_STALE_MS: count(5 * 60_000, 1_000, 24 * 3_600_000),
  /** Ledger rows, ended sagas and traces of moved orders are kept this long: far beyond any redelivery. */
  SAGA_RETENTION_HOURS: count(7 * 24, 1, 365 * 24),
  /**
   * Rows the sweep looks at, of each kind, per shard and run. It deletes as many (1 000 at most) in one transaction, and
   * up to twenty times as many of each kind per run.
   */
  SAGA_SWEEP_ROWS: count(200, 1, 10_000),
  /** Shards checked at once by a verification, each with one heavy statement at a time. */
  VERIFY_MAX_SHARDS_AT_ONCE: count(8, 1, 64),
  /** Buckets of a chunk: progress is told by chunks, and a plan for 256 shards stays below 100 KB. */
  VERIFY_CHUNK_BUCKETS: count(128, 32, 1024),
  /** Rows of one statement of a verification: some ten milliseconds of a server's time. */
  VERIFY_PAGE_ROWS: count(5_000, 10, 50_000),
  /** After this long an activity of a verification hands over to the next one: well below any host's limit. */
  VERIFY_ACTIVITY_MS: count(20_000, 100, 120_000),
  /** How long one statement of a verification waits for its shard. */
  VERIFY_DEADLINE_MS: count(15_000, 100, 120_000),
  /** What looks wrong is looked at again after this long: longer than a step that is being committed takes. */
  VERIFY_GRACE_MS: count(3_000, 0, 60_000),
  /** Buckets that one rebalance moves at once: more compete for the same two shards and make every switch longer. */
  REBALANCE_MAX_MOVES: count(4, 1, 64),
  /** Of these at most so many leave one shard: it goes on serving its other buckets. */
  REBALANCE_MAX_MOVES_PER_SOURCE: count(2, 1, 16),
  /** Of these at most so many arrive at one shard: copies go through its batch connections, best at two (FACTS-mysql 2b). */
  REBALANCE_MAX_MOVES_PER_TARGET: count(2, 1, 16),
  /** After this long an activity that moves buckets hands over to the next one: well below any host's limit. */
  REBALANCE_SLICE_MS: count(20_000, 100, 120_000),
  /** No bucket is switched while its writers would wait for longer than this, by forecast (DESIGN 6). */
  REBALANCE_STALL_LIMIT_MS: count(500, 50, 5_000),
  /** Old copies of moved buckets stay at their source for this long, for looking at them. At most six days. */
  REBALANCE_PURGE_AFTER_MS: count(3_600_000, 0, 6 * 24 * 3_600_000),
  /** Moves pause while a shard runs more statements than this at once: a small server has 2 to 4 cores. */
  REBALANCE_MAX_THREADS_RUNNING: count(40, 1, 10_000),
  /** Moves pause while `SELECT 1` takes a shard longer than this: usual is a millisecond, within a region. */
  REBALANCE_MAX_PROBE_MS: count(250, 1, 60_000),
  /** Moves pause while a shard has more old row versions to purge than this: reads get slower by then. */
  REBALANCE_MAX_HISTORY: count(1_000_000, 1_000, 1_000_000_000),
  /** Where traces and metrics go; by default to Azure Monitor where its connection string is set, else nowhere. */
  TELEMETRY: z.enum(['off', 'console', 'otlp', 'azure-monitor']).optional(),
  /** Share of the traces that is kept. Metrics are never sampled. A tenth shows every pattern at a tenth of the cost. */
  TELEMETRY_SAMPLE_PERCENT: count(10, 0, 100),
  /** Time between two exports of metrics: alerts look at minutes. */
  TELEMETRY_METRIC_INTERVAL_MS: count(60_000, 1_000, 600_000),
  /** Longest that one export, and the last one at the end of the process, may take. */
  TELEMETRY_EXPORT_TIMEOUT_MS: count(5_000, 100, 30_000),
  /** Base address of a collector that takes OTLP over HTTP; `/v1/traces` and `/v1/metrics` are added. */
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url().default('http://localhost:4318'),
  APPLICATIONINSIGHTS_CONNECTION_STRING: z.string().min(1).optional(),
  /** `ClientId=…;Authorization=AAD` for a managed identity, as the host takes it. */
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: z.string().min(1).optional(),
  /** Requests per second that one instance takes from one caller on business routes, twice as many at once; 0: no limit. */
  HTTP_RATE_PER_SECOND: count(0, 0, 100_000),
  MAX_BODY_BYTES: count(1024 * 1024, 1024, 100 * 1024 * 1024),
});

type TelemetryMode = NonNullable<z.infer<typeof settings>['TELEMETRY']>;

export type Config = Readonly<
  Omit<z.infer<typeof settings>, 'TELEMETRY'> & { readonly TELEMETRY: TelemetryMode }
>;

/** Names of all settings; the sample file is checked against them. */
export const SETTING_NAMES: readonly string[] = Object.keys(settings.shape);

/**
 * Reads and checks all settings at once, so that one start shows every mistake. Throws
 * `configuration-invalid` listing them; values are never repeated in the message (passwords).
 */
export function loadConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const parsed = settings.safeParse(environment);
  if (!parsed.success) {
    throw PermanentError.configuration(
      parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message })),
    );
  }
  const config = parsed.data;
  const storage =
    config.AzureWebJobsStorage ??
    config.AzureWebJobsStorage__accountName ??
    config.AzureWebJobsStorage__blobServiceUri;
  if (storage === undefined) {
    throw PermanentError.configuration([
      {
        path: 'AzureWebJobsStorage',
        message:
          'is missing: a storage connection string, or AzureWebJobsStorage__accountName for a managed identity, is expected',
      },
    ]);
  }
  return Object.freeze({ ...config, TELEMETRY: telemetryOf(config) });
}

function telemetryOf(config: z.infer<typeof settings>): TelemetryMode {
  const target = config.APPLICATIONINSIGHTS_CONNECTION_STRING;
  if (config.TELEMETRY === 'azure-monitor' && target === undefined) {
    throw PermanentError.configuration([
      {
        path: 'APPLICATIONINSIGHTS_CONNECTION_STRING',
        message: 'is missing: TELEMETRY "azure-monitor" sends to the component that it names',
      },
    ]);
  }
  return config.TELEMETRY ?? (target === undefined ? 'off' : 'azure-monitor');
}

/** The setting `SHARDS` alone, for commands that need no other. Throws `configuration-invalid`. */
export function parseShards(text: string | undefined): readonly ShardSettings[] {
  const parsed = z.object({ SHARDS: shardsText }).safeParse({ SHARDS: text });
  if (parsed.success) return parsed.data.SHARDS;
  throw PermanentError.configuration(
    parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message })),
  );
}

/** {@link loadConfig} of this process's environment. */
export function configFromEnvironment(): Config {
  return loadConfig(process.env);
}
