import type { Shard } from '../src/database/contracts.ts';
import type { Random } from '../test/support/random.ts';
import { insertRows } from './statements.ts';

/** Rows of one INSERT. */
const BATCH = 1_000;
const FIRST_MS = Date.UTC(2026, 0, 1);

interface Filling {
  readonly table: string;
  readonly columns: string;
  readonly rows: number;
  /** The values of the n-th row after the bucket. */
  readonly row: (n: number) => string;
}

/**
 * Fills a bucket as a busy one is filled: mostly orders, in the order of their ids as they are made in production (time
 * above, sequence below), a key for every fourth order, and smaller parts of the other tables.
 */
export async function fillBucket(
  shard: Shard,
  options: { readonly bucket: number; readonly orders: number; readonly random: Random },
): Promise<void> {
  for (const filling of fillings(options.orders, options.random)) {
    for (let begin = 0; begin < filling.rows; begin += BATCH) {
      const length = Math.min(BATCH, filling.rows - begin);
      const rows = Array.from(
        { length },
        (_, index) => `(${options.bucket}, ${filling.row(begin + index)})`,
      );
      await shard.packet([insertRows(filling.table, `bucket, ${filling.columns}`, rows)]);
    }
  }
}

function fillings(orders: number, random: Random): readonly Filling[] {
  const users = Math.max(1, Math.ceil(orders / 40));
  const share = (part: number): number => Math.ceil(orders / part);
  const user = (n: number): bigint => 7_300_000_000_000_000_000n + BigInt(n) * 104_729n;
  const anyUser = (): bigint => user(random.below(users));
  const order = (n: number): bigint => 7_400_000_000_000_000_000n + BigInt(n) * 4_194_304n;
  const hash = (): string =>
    `X'${Array.from({ length: 8 }, () =>
      random
        .below(2 ** 32)
        .toString(16)
        .padStart(8, '0'),
    ).join('')}'`;
  const at = (n: number): string =>
    `'${new Date(FIRST_MS + n * 137).toISOString().slice(0, 23).replace('T', ' ')}'`;
  const saga = (n: number): string => `'saga-${String(n).padStart(12, '0')}'`;
  const cents = (): number => 100 + random.below(50_000);
  const email = (n: number): string => `'customer.${n}@shop.example.com'`;
  return [
    {
      table: 'users',
      columns: 'user_id, email, email_key, created_at',
      rows: users,
      row: (n) => `${user(n)}, ${email(n)}, ${hash()}, ${at(n)}`,
    },
    {
      table: 'orders',
      columns: 'order_id, user_id, amount_cents, created_at',
      rows: orders,
      row: (n) => `${order(n)}, ${anyUser()}, ${cents()}, ${at(n)}`,
    },
    {
      table: 'idempotency_keys',
      columns: 'scope, key_hash, request_hash, resource_id, created_at',
      rows: share(4),
      row: (n) => `'orders', ${hash()}, ${hash()}, ${order(n)}, ${at(n)}`,
    },
    {
      table: 'order_transfers',
      columns: 'order_id, user_id, peer_user_id, state, saga_id, updated_at',
      rows: share(200),
      row: (n) => `${order(n)}, ${anyUser()}, ${anyUser()}, 3, ${saga(n)}, ${at(n)}`,
    },
    {
      table: 'email_directory',
      columns: 'email_key, email, user_id, state, saga_id, updated_at',
      rows: users,
      row: (n) => `${hash()}, ${email(n)}, ${user(n)}, 'confirmed', ${saga(n)}, ${at(n)}`,
    },
    {
      table: 'saga_steps',
      columns: 'saga_id, step, state, result, updated_at',
      rows: share(100),
      row: (n) => `${saga(n)}, 'reserve-email', 'done', '{"cents":${cents()}}', ${at(n)}`,
    },
    {
      table: 'sagas',
      columns: 'saga_id, kind, status, attention, input, steps, created_at, updated_at',
      rows: share(200),
      row: (n) =>
        `${saga(n)}, 'transfer-order', 'completed', 0, '{"orderId":"${order(n)}"}', NULL, ${at(n)}, ${at(n)}`,
    },
    {
      table: 'saga_audit',
      columns: 'saga_id, entry, verb, reason, request_id, requested_at, state',
      rows: share(2_000),
      row: (n) => `${saga(n)}, ${n}, 'retry', 'asked by a customer', 'r-${n}', ${at(n)}, 'applied'`,
    },
  ];
}
