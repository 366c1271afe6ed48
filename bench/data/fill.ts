import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import type { UserId } from '../../src/kernel/ids.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import {
  ADD_ORDERS_BY_USER,
  ANALYZE_FILLED,
  BEGIN_FILL,
  COUNT_ORDERS,
  DIRTY_PAGES,
  DROP_ORDERS_BY_USER,
  fillFactor,
  FLUSH_ALL,
  FLUSH_AS_WHEN_BUSY,
  INSERT_ORDER_FOR_EACH,
  LOAD_USERS,
  USER_ID_STEP,
} from './fill-statements.ts';

const FIRST_USER = 7_300_000_000_000_000_000n;
const FIRST_MS = Date.UTC(2025, 0, 1);
const YEAR_MS = 365 * 86_400_000;
/** As full as pages of an index become that grew by inserts here and there. */
const GROWN_FILL_PERCENT = 70;
/** So few are always being changed by the server itself. */
const FEW_PAGES = 200;
const FLUSH_LIMIT_MS = 60_000;

/** Users of one shard and what they have ordered. */
export interface Filling {
  readonly users: readonly UserId[];
  /** Of each user; together they are spread over a year. */
  readonly ordersOfEach: number;
}

/** Users of each shard, as many as `counts` says, by the first map of as many shards: bucket modulo shards. */
export function usersOfShards(counts: readonly number[]): readonly UserId[][] {
  const lists = counts.map((): UserId[] => []);
  let missing = counts.reduce((sum, count) => sum + count, 0);
  for (let n = 0n; missing > 0; n += 1n) {
    const user = String(FIRST_USER + n * BigInt(USER_ID_STEP)) as UserId;
    const shard = bucketOf(user) % counts.length;
    const list = lists[shard] as UserId[];
    if (list.length === counts[shard]) continue;
    list.push(user);
    missing -= 1;
  }
  return lists;
}

/**
 * Fills a shard, as one is that has grown: primary keys in order and full, the other index with room in its pages. What was
 * there is gone. Returns how many orders there are; everything is flushed by then.
 */
export async function fillShard(
  admin: Connection,
  { users, ordersOfEach }: Filling,
): Promise<number> {
  for (const statement of BEGIN_FILL) await admin.query(statement);
  await admin.query({ sql: LOAD_USERS, infileStreamFactory: () => usersAsText(users) });
  await admin.query(DROP_ORDERS_BY_USER);
  const spanMs = Math.floor(YEAR_MS / ordersOfEach);
  for (let round = 0; round < ordersOfEach; round += 1) {
    await admin.query(INSERT_ORDER_FOR_EACH, [round, FIRST_MS + round * spanMs, spanMs]);
  }
  await admin.query(fillFactor(GROWN_FILL_PERCENT));
  await admin.query(ADD_ORDERS_BY_USER);
  await admin.query(fillFactor(100));
  await admin.query(ANALYZE_FILLED);
  await flush(admin);
  const [rows] = await admin.query<RowDataPacket[]>(COUNT_ORDERS);
  return Number(rows[0]?.['orders']);
}

function usersAsText(users: readonly UserId[]): Readable {
  const rows = users.map((user) => ({ bucket: bucketOf(user), user }));
  rows.sort((a, b) => a.bucket - b.bucket);
  return Readable.from(linesOf(rows));
}

function* linesOf(rows: readonly { readonly bucket: number; readonly user: UserId }[]) {
  for (let begin = 0; begin < rows.length; begin += 10_000) {
    const piece = rows.slice(begin, begin + 10_000);
    yield Buffer.from(piece.map(({ bucket, user }) => `${bucket},${user}\n`).join(''));
  }
}

/** Waits until the server has written what was changed: else its writers would be measured too. */
async function flush(admin: Connection): Promise<void> {
  await admin.query(FLUSH_ALL);
  const endsAtMs = performance.now() + FLUSH_LIMIT_MS;
  while (performance.now() < endsAtMs) {
    const [rows] = await admin.query<RowDataPacket[]>(DIRTY_PAGES);
    if (Number(rows[0]?.['Value']) < FEW_PAGES) break;
    await sleep(100);
  }
  await admin.query(FLUSH_AS_WHEN_BUSY);
}
