import type { AmountCents } from '../src/kernel/money.ts';
import type { OrderRow } from '../src/orders/batch-statements.ts';
import { createOrderBatchWriter } from '../src/orders/batch-writer.ts';
import { rowSetOf } from '../src/orders/row-set.ts';
import { bucketOf } from '../src/sharding/hash.ts';
import type { Random } from '../test/support/random.ts';
import { inRounds } from './drive.ts';
import { atLeast, type Line, lineOf } from './lines.ts';
import type { BenchOptions } from './options.ts';
import { AT, createOrderIds, someUser, SQL_AT } from './orders.ts';
import { LOAD_ORDERS } from './statements.ts';
import type { World } from './world.ts';

/** A chunk of an ingestion with its record, beside LOAD DATA LOCAL INFILE of as many rows into the same table. */
export async function benchChunk(world: World, options: BenchOptions): Promise<readonly Line[]> {
  const { services, shard } = world;
  const { random, roundMs } = options;
  const writer = createOrderBatchWriter(services);
  const nextId = createOrderIds();
  const rowsPerChunk = services.config.INGEST_CHUNK_ROWS;
  let chunk = 0;
  const nextRows = (): OrderRow[] =>
    Array.from({ length: rowsPerChunk }, () => someOrder(world, random, nextId));
  const perSecond = (write: (rows: readonly OrderRow[]) => Promise<unknown>) => async () => {
    let [rows, ms] = [0, 0];
    while (ms < roundMs) {
      const next = nextRows();
      const startedAtMs = performance.now();
      await write(next);
      ms += performance.now() - startedAtMs;
      rows += next.length;
    }
    return (rows * 1_000) / ms;
  };
  const { product, limit } = await inRounds(options, {
    product: perSecond((rows) => {
      const key = { ingestionId: `bench-${random.seed}`, chunk: `0/${++chunk}` };
      return writer.writeChunk(shard, key, rowSetOf(rows), { deadlineMs: 60_000 });
    }),
    limit: perSecond((rows) => world.load(LOAD_ORDERS, rows.map(asLine).join('\n'))),
  });
  return [
    lineOf({
      what: `a chunk of ${rowsPerChunk} orders`,
      limit: 'LOAD DATA LOCAL INFILE of them',
      ratios: product.map((value, round) => value / (limit[round] ?? Number.NaN)),
      target: atLeast(0.6),
      note: `${product[0]?.toFixed(0)} and ${limit[0]?.toFixed(0)} rows per s`,
    }),
  ];
}

function someOrder(world: World, random: Random, nextId: () => OrderRow['orderId']): OrderRow {
  const userId = someUser(world.users, random);
  return {
    bucket: bucketOf(userId),
    orderId: nextId(),
    userId,
    amountCents: (100 + random.below(50_000)) as AmountCents,
    createdAt: AT,
    createdAtGiven: true,
  };
}

function asLine(row: OrderRow): string {
  return [row.bucket, row.orderId, row.userId, row.amountCents, SQL_AT].join(',');
}
