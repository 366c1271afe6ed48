import type { ShardAnswer } from '../../src/revenue/model.ts';

/** The same answer with one sum for all its buckets. */
export function summedTogether({ shard, sums, sightings }: ShardAnswer): ShardAnswer {
  const together = {
    buckets: sums.map(({ bucket, epoch }) => ({ bucket, epoch })),
    orders: sums.reduce((all, own) => all + own.orders, 0),
    cents: sums.reduce((all, own) => all + own.cents, 0n),
  };
  return { shard, sums: [], together, sightings };
}
