import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { z } from 'zod';
import type { ShardConnection } from '../shards/settings.ts';
import { type Api, expectReply } from './api.ts';

/**
 * A table of its own, made and dropped by this chapter, so that nothing else in the demonstration changes by it. The app's
 * settings take it in (MAINTENANCE_INCLUDE) and let small tables be rebuilt.
 */
const TABLE = 'demo_parcels';
/** Settings of the app under which the chapter works. */
export const MAINTENANCE_SETTINGS = {
  MAINTENANCE_INCLUDE: `registered,${TABLE}`,
  MAINTENANCE_REBUILD_MIN_MB: '1',
  MAINTENANCE_REBUILD_PAUSE_HOURS: '0',
  // The machine of a demonstration is busy with all the servers, the app and its callers.
  MAINTENANCE_MAX_THREADS_RUNNING: '1000',
  MAINTENANCE_MAX_PROBE_MS: '5000',
};
const ROWS = 32_768;
/** One after the other: fresh statistics show what is wasted, and the next run gives it back. */
const NIGHTS = 2;
const STUCK_AFTER_MS = 120_000;

/** How the server comes to the parcels of a route depends on how many it believes there are. */
const QUERY = `SELECT COUNT(*) FROM ${TABLE} a JOIN ${TABLE} b ON b.route = a.parcel WHERE a.id BETWEEN ${ROWS - 40} AND ${ROWS}`;

export interface MaintenanceChapter {
  readonly api: Api;
  readonly shards: readonly ShardConnection[];
  readonly print: (line: string) => void;
}

const tableReply = z.object({
  shard: z.number(),
  table: z.string(),
  action: z.string(),
  reason: z.string(),
  state: z.string(),
  durationMs: z.number().nullable(),
  before: z.object({ dataBytes: z.number(), indexBytes: z.number() }),
  after: z.object({ dataBytes: z.number(), indexBytes: z.number() }).nullable(),
  outcome: z.object({ reason: z.string() }).nullable(),
});
const runReply = z.object({ status: z.string(), tables: z.array(tableReply) });
type Run = z.infer<typeof runReply>;
type Table = z.infer<typeof tableReply>;

/** Ages a table on purpose, has it maintained, and shows what it was good for; gives what was wrong. */
export async function showMaintenance(chapter: MaintenanceChapter): Promise<string[]> {
  const { api, shards, print } = chapter;
  const wrong: string[] = [];
  try {
    await Promise.all(shards.map((shard) => onShard(shard, fill)));
    // What a well filled page holds is remembered: later fills are measured by it.
    await maintain(api, { dryRun: false });
    await Promise.all(shards.map((shard) => onShard(shard, age)));
    const before = await accessOf(shards);
    print(`  ${TABLE}: ${ROWS} rows on each shard, all rewritten, then half of them deleted`);
    const plan = await maintain(api, { dryRun: true });
    for (const { shard, action, reason } of plan.tables) {
      print(`  shard ${shard} would ${action}: ${reason}`);
    }
    const sizes = await runNights(chapter, wrong);
    const after = await accessOf(shards);
    print(
      `  the plan of a join: ${before[0]?.words ?? '?'} before, ${after[0]?.words ?? '?'} after; there is 1`,
    );
    for (const [index, { first, last }] of sizes.entries()) {
      print(`  shard ${index}: ${megabytes(first)} MB before, ${megabytes(last)} MB after`);
      if (last > first * 0.7) wrong.push(`${TABLE} of shard ${index} did not get smaller`);
    }
    if (!before.every(({ rows }) => rows > 1_000) || !after.every(({ rows }) => rows <= 2)) {
      wrong.push('the plan of the join did not get better');
    }
  } finally {
    await Promise.all(shards.map((shard) => onShard(shard, drop)));
  }
  return wrong;
}

/** Runs until nothing is left to do; gives the size of each shard's table at first and at last. */
async function runNights(
  { api, shards, print }: MaintenanceChapter,
  wrong: string[],
): Promise<{ first: number; last: number }[]> {
  const sizes = shards.map(() => ({ first: 0, last: 0 }));
  for (let night = 1; night <= NIGHTS; night += 1) {
    const run = await maintain(api, { dryRun: false });
    if (run.status !== 'completed') wrong.push(`maintenance ended ${run.status}`);
    for (const table of run.tables) {
      print(`  run ${night}, shard ${table.shard}: ${lineOf(table)}`);
      if (table.state === 'failed' || table.state === 'skipped') {
        wrong.push(`${TABLE} of shard ${table.shard}: ${table.outcome?.reason ?? table.state}`);
      }
      const size = sizes[table.shard];
      if (size === undefined) continue;
      if (night === 1) size.first = sizeOf(table.before);
      size.last = sizeOf(table.after ?? table.before);
    }
  }
  return sizes;
}

function lineOf({ action, state, durationMs, reason, before, after }: Table): string {
  if (state === 'left-alone') return `left alone: ${reason}`;
  const took = durationMs === null ? '' : ` in ${durationMs} ms`;
  const size =
    after === null ? '' : `, ${megabytes(sizeOf(before))} → ${megabytes(sizeOf(after))} MB`;
  return `${action} ${state}${took}${size}: ${reason}`;
}

const sizeOf = (figures: Table['before']): number => figures.dataBytes + figures.indexBytes;
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

async function maintain(api: Api, options: { readonly dryRun: boolean }): Promise<Run> {
  const reply = await api.send('POST', '/ops/maintenance', { tables: [TABLE], ...options });
  const accepted = z.object({ maintenanceId: z.string() });
  const { maintenanceId } = expectReply(reply, [202], accepted, 'the maintenance');
  const deadline = performance.now() + STUCK_AFTER_MS;
  for (;;) {
    const run = await api.send('GET', `/ops/maintenance/${maintenanceId}`);
    const found = expectReply(run, [200], runReply, 'the maintenance');
    if (found.status !== 'running') return found;
    if (performance.now() > deadline) throw new Error('the maintenance does not get on');
    await sleep(200);
  }
}

async function onShard<T>(
  { host, port, user, password, database }: ShardConnection,
  run: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await createConnection({ host, port, user, password, database });
  try {
    return await run(connection);
  } finally {
    await connection.end();
  }
}

async function drop(connection: Connection): Promise<void> {
  await connection.query(`DROP TABLE IF EXISTS ${TABLE}`);
}

/** The server is told not to renew the statistics by itself, so that they are stale for sure. */
async function fill(connection: Connection): Promise<void> {
  await drop(connection);
  await connection.query(
    `CREATE TABLE ${TABLE} (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, route INT UNSIGNED NOT NULL, parcel INT UNSIGNED NOT NULL,
      label CHAR(200) CHARACTER SET ascii NOT NULL, KEY by_route (route)) STATS_PERSISTENT=1 STATS_AUTO_RECALC=0`,
  );
  await connection.query(
    `INSERT INTO ${TABLE} (id, route, parcel, label) VALUES (1, 1, 1, REPEAT('x', 200))`,
  );
  for (let rows = 1; rows < ROWS; rows *= 2) {
    await connection.query(
      `INSERT INTO ${TABLE} (id, route, parcel, label) SELECT id + ${rows}, 1, parcel + ${rows}, label FROM ${TABLE}`,
    );
  }
  await connection.query(`ANALYZE NO_WRITE_TO_BINLOG TABLE ${TABLE}`);
}

/** Every second row goes, so that pages are left half empty. */
async function age(connection: Connection): Promise<void> {
  await connection.query(`UPDATE ${TABLE} SET route = id`);
  await connection.query(`DELETE FROM ${TABLE} WHERE id % 2 = 0`);
}

interface Access {
  readonly rows: number;
  readonly words: string;
}

/** How each shard's server would come to the rows of the join's second table, and how many it expects. */
async function accessOf(shards: readonly ShardConnection[]): Promise<Access[]> {
  return await Promise.all(
    shards.map((shard) =>
      onShard(shard, async (connection) => {
        const [found] = await connection.query<RowDataPacket[]>(
          `EXPLAIN FORMAT=TRADITIONAL ${QUERY}`,
        );
        const second = found.find((row) => row['table'] === 'b');
        const rows = Number(second?.['rows']);
        return { rows, words: `${String(second?.['type'])} with ${rows} rows a time` };
      }),
    ),
  );
}
