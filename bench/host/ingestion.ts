import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { HostProcess } from '../../local/host-process.ts';
import { mapBounded } from '../../src/kernel/bounded.ts';
import type { ShardId, UserId } from '../../src/kernel/ids.ts';
import type { AmountCents } from '../../src/kernel/money.ts';
import type { OrderRow } from '../../src/orders/batch-statements.ts';
import { createOrderBatchWriter } from '../../src/orders/batch-writer.ts';
import { byPrimaryKey, rowSetOf } from '../../src/orders/row-set.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { routeBucket } from '../../src/sharding/router.ts';
import { inRounds } from '../drive.ts';
import { figureOf } from '../figures.ts';
import { atLeast, type Line, lineOf } from '../lines.ts';
import { type BenchOptions, scaled } from '../options.ts';
import { AT, createOrderIds, someUser } from '../orders.ts';
import type { HostWorld } from './world.ts';

const ORDERS = 200_000;
/** A round takes several seconds, and its length averages by itself. */
const MOST_ROUNDS = 3;
/** Each look costs the host some milliseconds. */
const POLL_MS = 150;
const STUCK_AFTER_MS = 120_000;

const ingestion = z.object({
  status: z.enum(['running', 'completed', 'failed']),
  inserted: z.int(),
});

/**
 * A batch as one HTTP request, until its ingestion says that all rows are there, beside its chunks alone: rows at hand,
 * cut and sorted beforehand, written by the same writer with as many chunks at once.
 */
export async function benchIngestion(
  world: HostWorld,
  options: BenchOptions,
): Promise<readonly Line[]> {
  // More than the 1 000 that are written without lanes.
  const orders = scaled(options, ORDERS, 2_000);
  const rounds = Math.min(options.rounds, MOST_ROUNDS);
  const host = await world.startHost();
  const users = (): UserId[] =>
    Array.from({ length: orders }, () => someUser(world.users, options.random));
  const perSecond = (write: (users: UserId[]) => Promise<number>) => async (): Promise<number> =>
    (orders * 1_000) / (await write(users()));
  try {
    const { product, limit } = await inRounds(
      { rounds, random: options.random },
      {
        product: perSecond((given) => ingestMs(host, given)),
        limit: perSecond(createChunkWrites(world, options)),
      },
    );
    const show = (rates: readonly number[]): string => figureOf(rates).median.toFixed(0);
    return [
      lineOf({
        what: `a batch of ${orders} orders, HTTP to rows`,
        limit: 'its chunk writes alone',
        ratios: product.map((rate, round) => rate / (limit[round] ?? Number.NaN)),
        target: atLeast(0.6),
        note: `${show(product)} of ${show(limit)} orders per s on ${world.shards.length} shards`,
      }),
    ];
  } finally {
    await host.stop();
  }
}

/** Sends a batch of an order per user, and waits until its ingestion says that all are there. */
export async function ingestMs(
  host: Pick<HostProcess, 'origin'>,
  users: readonly UserId[],
): Promise<number> {
  const body = users.map((userId, n) => JSON.stringify({ userId, amountCents: amountOf(n) }));
  const text = `${body.join('\n')}\n`;
  const startedAtMs = performance.now();
  const accepted = await fetch(`${host.origin}/api/orders/batch`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: text,
  });
  const { statusUrl } = z.object({ statusUrl: z.string() }).parse(await accepted.json());
  for (;;) {
    const answer = await fetch(`${host.origin}${statusUrl}`);
    const { status, inserted } = ingestion.parse(await answer.json());
    const ms = performance.now() - startedAtMs;
    if (status === 'completed' && inserted === users.length) return ms;
    if (status !== 'running' || ms > STUCK_AFTER_MS) {
      throw new Error(`The ingestion is ${status} with ${inserted} of ${users.length} orders.`);
    }
    await sleep(POLL_MS);
  }
}

/** All lanes at once, each its shard's chunks by `width`, as the ingestion would plan them. */
function createChunkWrites(
  world: HostWorld,
  options: BenchOptions,
): (users: readonly UserId[]) => Promise<number> {
  const { config } = world.services;
  const writer = createOrderBatchWriter(world.services);
  const nextId = createOrderIds();
  let batch = 0;
  return async (users) => {
    const rows = users.map((userId, n): OrderRow => ({
      bucket: bucketOf(userId),
      orderId: nextId(),
      userId,
      amountCents: amountOf(n),
      createdAt: AT,
      createdAtGiven: false,
    }));
    const shards = world.shards.map((_, shard) => ({
      shard: shard as ShardId,
      chunks: chunksOf(
        rows.filter((row) => routeBucket(world.map, row.bucket).shard === shard),
        config.INGEST_CHUNK_ROWS,
      ),
    }));
    const width = Math.min(
      config.INGEST_MAX_CHUNKS_PER_SHARD,
      Math.max(1, Math.floor(config.INGEST_MAX_CHUNKS / shards.length)),
    );
    const ingestionId = `bench-${options.random.seed}-${++batch}`;
    const startedAtMs = performance.now();
    await Promise.all(
      shards.map(({ shard, chunks }) =>
        mapBounded([...chunks.entries()], width, ([index, chunk]) =>
          writer.writeChunk(shard, { ingestionId, chunk: `${shard}/${index}` }, rowSetOf(chunk), {
            deadlineMs: config.INGEST_CHUNK_DEADLINE_MS,
          }),
        ),
      ),
    );
    return performance.now() - startedAtMs;
  };
}

function chunksOf(rows: readonly OrderRow[], size: number): OrderRow[][] {
  return Array.from({ length: Math.ceil(rows.length / size) }, (_, index) =>
    rows.slice(index * size, (index + 1) * size).sort(byPrimaryKey),
  );
}

function amountOf(n: number): AmountCents {
  return (100 + (n % 50_000)) as AmountCents;
}
