import { bucketOf } from '../../../src/sharding/hash.ts';
import type { Random } from '../random.ts';

/** Shards of a test cluster; the first map puts bucket i on shard i modulo this. */
export const SHARDS = 3;

export function shardOf(key: string): number {
  return bucketOf(key) % SHARDS;
}

/** Keys that no test of this file used before, on chosen shards. */
export interface Keys {
  userOn(shard: number): string;
  emailOn(shard: number): string;
}

export function createKeys(first: number): Keys {
  let next = first;
  const find = (shard: number, make: (n: number) => string): string => {
    for (;;) {
      next += 1;
      const key = make(next);
      if (shardOf(key) === shard) return key;
    }
  };
  return {
    userOn: (shard) => find(shard, String),
    emailOn: (shard) => find(shard, (n) => `mail${n}@example.com`),
  };
}

/** The given shard first, the others in any order; the same one thrice when all is to be together. */
export function shardsFrom(
  at: { readonly shard: number; readonly together?: boolean },
  random: Random,
): readonly [number, number, number] {
  const { shard, together = false } = at;
  const step = together ? 0 : 1 + random.below(2);
  return [shard, (shard + step) % SHARDS, (shard + 2 * step) % SHARDS];
}
