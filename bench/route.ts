import { hash } from 'node:crypto';
import { initialBucketMap } from '../src/sharding/bucket-map.ts';
import { routeKey } from '../src/sharding/router.ts';
import { inRounds } from './drive.ts';
import { atMost, type Line, lineOf } from './lines.ts';
import { type BenchOptions, scaled } from './options.ts';

const KEYS = 200_000;

/** Hash and map of a key, beside one MD5 of the same bytes. No servers. */
export async function benchRoute(options: BenchOptions): Promise<readonly Line[]> {
  const { random } = options;
  const keys = Array.from({ length: scaled(options, KEYS, 1_000) }, () =>
    String(7_300_000_000_000_000_000n + BigInt(random.below(2 ** 32))),
  );
  const shardNames = Array.from({ length: 64 }, (_, n) => `shard-${n}`);
  const map = initialBucketMap({
    clusterId: 'bench',
    shardNames,
    updatedAt: '2026-01-01T00:00:00.000Z',
  });
  const nsOfEach = (work: (key: string) => number) => () => {
    const startedAtMs = performance.now();
    let sum = 0;
    for (const key of keys) sum += work(key);
    const ns = ((performance.now() - startedAtMs) * 1e6) / keys.length;
    // Used, so that nothing of it can be left out.
    return Promise.resolve(sum >= 0 ? ns : Number.NaN);
  };
  const { product, limit } = await inRounds(options, {
    product: nsOfEach((key) => routeKey(map, key).shard),
    limit: nsOfEach((key) => hash('md5', key, 'buffer')[0] ?? 0),
  });
  const ratios = product.map((ns, round) => ns / (limit[round] ?? Number.NaN));
  return [
    lineOf({
      what: 'route a key',
      limit: 'one MD5 of it',
      ratios,
      target: atMost(1.5),
      note: `${product[0]?.toFixed(0)} ns, ${limit[0]?.toFixed(0)} ns`,
    }),
  ];
}
