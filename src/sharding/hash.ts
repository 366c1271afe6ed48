import { hash } from 'node:crypto';
import type { BucketId } from '../kernel/ids.ts';
import { md5FirstWord } from './md5-word.ts';

/** Number of virtual buckets; fixed for the life of a cluster (changing it would re-home every row). */
export const BUCKET_COUNT = 1024;

/**
 * The bucket of a key: the first two bytes of the MD5 of its text, big endian, modulo 1024.
 *
 * The key is the canonical decimal text of a signed 64-bit integer, or a normalised email. Computed
 * only here: MySQL 9.7 has no MD5 any more (FACTS-mysql 0.1), so no SQL relies on it. MD5 is used as a
 * mixing function, not for secrecy.
 */
export function bucketOf(key: string): BucketId {
  const word = md5FirstWord(key);
  if (word === undefined)
    return (hash('md5', key, 'buffer').readUInt16BE(0) % BUCKET_COUNT) as BucketId;
  return ((((word & 0xff) << 8) | ((word >> 8) & 0xff)) % BUCKET_COUNT) as BucketId;
}
