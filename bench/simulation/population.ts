import { hash } from 'node:crypto';
import { BUCKET_COUNT, bucketOf } from '../../src/sharding/hash.ts';
import type { Random } from '../../test/support/random.ts';
import { ARCS, RESIDUES } from './schemes.ts';

/** Where each user lies: the bucket by the product, and a hash of 32 bits for those that it is compared with. */
export interface Users {
  readonly buckets: Uint16Array;
  readonly hashes: Uint32Array;
}

const FIRST_ID = 7_300_000_000_000_000_000n;
/** Ids are made by time, so they lie apart at random. */
const MOST_APART = 2 ** 22;

/** So many users with ids as the product makes them. */
export function hashUsers(count: number, random: Random): Users {
  const users = { buckets: new Uint16Array(count), hashes: new Uint32Array(count) };
  let id = FIRST_ID;
  for (let n = 0; n < count; n++) {
    id += BigInt(1 + random.below(MOST_APART));
    const key = String(id);
    users.buckets[n] = bucketOf(key);
    // The same hash, so that none of them is compared by a better or worse one; other bytes of it than the bucket's.
    users.hashes[n] = hash('md5', key, 'buffer').readUInt32BE(4);
  }
  return users;
}

/** Share of each user of all orders, the busiest first: the n-th places orders in proportion to n^-exponent. Sum: 1. */
export function zipfShares(users: number, exponent: number): Float64Array {
  const shares = new Float64Array(users);
  let sum = 0;
  // From the small ones on, so that they are not lost beside the large.
  for (let n = users; n >= 1; n--) {
    const share = n ** -exponent;
    shares[n - 1] = share;
    sum += share;
  }
  for (let n = 0; n < users; n++) shares[n] = (shares[n] ?? 0) / sum;
  return shares;
}

/** Share that the busiest part (0 to 1) of the users has. */
export function shareOfBusiest(shares: Float64Array, part: number): number {
  return shares.subarray(0, Math.round(shares.length * part)).reduce((sum, share) => sum + share);
}

/** Something spread over the cells of each kind of scheme: what lies in one cell has one owner at any number of shards. */
export interface Cells {
  readonly buckets: Float64Array;
  readonly residues: Float64Array;
  readonly arcs: Float64Array;
}

/** Adds up the shares in the cells. The busiest user is the one at `first`; who is how busy changes with it. */
export function fillCells(users: Users, shares: Float64Array, first: number): Cells {
  const buckets = new Float64Array(BUCKET_COUNT);
  const residues = new Float64Array(RESIDUES);
  const arcs = new Float64Array(ARCS);
  const add = (cells: Float64Array, cell: number, share: number): void => {
    cells[cell] = (cells[cell] ?? 0) + share;
  };
  const count = shares.length;
  for (let rank = 0; rank < count; rank++) {
    const user = (first + rank) % count;
    const share = shares[rank] ?? 0;
    const hashed = users.hashes[user] ?? 0;
    add(buckets, users.buckets[user] ?? 0, share);
    add(residues, hashed % RESIDUES, share);
    add(arcs, Math.floor(hashed / (2 ** 32 / ARCS)), share);
  }
  return { buckets, residues, arcs };
}
