import type { Attempt, ShardedDatabase, SqlRunner } from '../../../src/database/contracts.ts';
import { refusalInRow } from '../../../src/database/refusals.ts';
import type { BucketId } from '../../../src/kernel/ids.ts';
import type { Random } from '../random.ts';

/** Writers of one bucket on several tables that remember what was acknowledged. */
export interface Writers {
  /** Writes that a shard has acknowledged so far. */
  written(shard: number): number;
  /** Ends them; throws what one of them threw. */
  stop(): Promise<WriterFigures>;
  /** `table/key` → value of every row that must be there, by what was acknowledged. */
  readonly expected: ReadonlyMap<string, string>;
}

export interface WriterFigures {
  readonly writes: number;
  /** Of a single write, milliseconds. */
  readonly longestMs: number;
  readonly byShard: Readonly<Record<number, number>>;
}

const AT = '2026-01-31 09:30:00.000';

type TableName = 'orders' | 'saga_steps' | 'order_transfers' | 'idempotency_keys';
interface TableWrites {
  readonly put: (tx: SqlRunner, bucket: BucketId, key: number, value: string) => Promise<unknown>;
  readonly remove: (tx: SqlRunner, bucket: BucketId, key: number) => Promise<unknown>;
  readonly read: string;
}

const hash = (key: number): Buffer => Buffer.from(String(key).padStart(32, '0'));

const TABLES: Readonly<Record<TableName, TableWrites>> = {
  orders: {
    put: (tx, bucket, key, value) =>
      tx.execute(
        'INSERT INTO orders (bucket, order_id, user_id, amount_cents, created_at) VALUES (?, ?, 7, ?, ?) ON DUPLICATE KEY UPDATE amount_cents = VALUES(amount_cents)',
        [bucket, key, value, AT],
      ),
    remove: (tx, bucket, key) =>
      tx.execute('DELETE FROM orders WHERE bucket = ? AND order_id = ?', [bucket, key]),
    read: 'SELECT order_id AS k, amount_cents AS v FROM orders WHERE bucket = ? AND order_id >= 1000000',
  },
  saga_steps: {
    put: (tx, bucket, key, value) =>
      tx.execute(
        "INSERT INTO saga_steps (bucket, saga_id, step, state, result, updated_at) VALUES (?, ?, 's', 'done', ?, ?) ON DUPLICATE KEY UPDATE result = VALUES(result)",
        [bucket, `w${key}`, value, AT],
      ),
    remove: (tx, bucket, key) =>
      tx.execute("DELETE FROM saga_steps WHERE bucket = ? AND saga_id = ? AND step = 's'", [
        bucket,
        `w${key}`,
      ]),
    read: "SELECT SUBSTRING(saga_id, 2) AS k, result AS v FROM saga_steps WHERE bucket = ? AND saga_id LIKE 'w%'",
  },
  order_transfers: {
    put: (tx, bucket, key, value) =>
      tx.execute(
        'INSERT INTO order_transfers (bucket, order_id, user_id, peer_user_id, state, saga_id, updated_at) VALUES (?, ?, 1, 2, 1, ?, ?) ON DUPLICATE KEY UPDATE saga_id = VALUES(saga_id)',
        [bucket, key, value, AT],
      ),
    remove: (tx, bucket, key) =>
      tx.execute('DELETE FROM order_transfers WHERE bucket = ? AND order_id = ?', [bucket, key]),
    read: 'SELECT order_id AS k, saga_id AS v FROM order_transfers WHERE bucket = ?',
  },
  idempotency_keys: {
    put: (tx, bucket, key, value) =>
      tx.execute(
        "INSERT INTO idempotency_keys (bucket, scope, key_hash, request_hash, resource_id, created_at) VALUES (?, 'w', ?, ?, ?, ?) ON DUPLICATE KEY UPDATE resource_id = VALUES(resource_id)",
        [bucket, hash(key), hash(1), value, AT],
      ),
    remove: (tx, bucket, key) =>
      tx.execute("DELETE FROM idempotency_keys WHERE bucket = ? AND scope = 'w' AND key_hash = ?", [
        bucket,
        hash(key),
      ]),
    read: "SELECT CAST(CAST(key_hash AS CHAR) AS SIGNED) AS k, resource_id AS v FROM idempotency_keys WHERE bucket = ? AND scope = 'w'",
  },
};
const TABLE_NAMES = Object.keys(TABLES) as readonly TableName[];

/** Each writer inserts, changes and deletes rows of its own, one after the other, behind the fence. */
export function startWriters(
  database: ShardedDatabase,
  bucket: BucketId,
  options: { readonly count: number; readonly random: Random; readonly deadlineMs?: number },
): Writers {
  const expected = new Map<string, string>();
  const byShard: Record<number, number> = {};
  let stopped = false;
  let writes = 0;
  let longestMs = 0;
  const seeds = Array.from({ length: options.count }, () => options.random.below(2 ** 30));
  const write = async (work: (tx: SqlRunner) => Promise<unknown>): Promise<void> => {
    const startedAt = performance.now();
    const shard = await database.onOwner<number>(
      bucket,
      (on): Promise<Attempt<number>> =>
        on.transaction(async (tx) => {
          const [row] = await tx.select(
            'SELECT state, moved_to FROM bucket_ownership WHERE bucket = ? LOCK IN SHARE MODE',
            [bucket],
          );
          const refusal = refusalInRow(row);
          if (refusal !== undefined) return refusal;
          await work(tx);
          return { kind: 'answered', value: on.id };
        }),
      { deadlineMs: options.deadlineMs ?? 10_000 },
    );
    longestMs = Math.max(longestMs, performance.now() - startedAt);
    writes += 1;
    byShard[shard] = (byShard[shard] ?? 0) + 1;
  };
  const loops = seeds.map(async (seed, writer) => {
    let step = seed;
    while (!stopped) {
      step = (Math.imul(step, 1_103_515_245) + 12_345) >>> 0;
      const table = TABLE_NAMES[(step >>> 8) % TABLE_NAMES.length] as TableName;
      // Few keys each, so that changes and deletes meet rows that were copied.
      const key = 1_000_000 + writer * 1_000 + ((step >>> 12) % 40);
      const id = `${table}/${key}`;
      if ((step >>> 20) % 4 === 0 && expected.has(id)) {
        await write((tx) => TABLES[table].remove(tx, bucket, key));
        expected.delete(id);
      } else {
        const value = String(step % 1_000_000);
        await write((tx) => TABLES[table].put(tx, bucket, key, value));
        expected.set(id, value);
      }
    }
  });
  const all = Promise.all(loops);
  all.catch(() => undefined);
  return {
    expected,
    written: (shard) => byShard[shard] ?? 0,
    stop: async () => {
      stopped = true;
      await all;
      return { writes, longestMs: Math.round(longestMs), byShard };
    },
  };
}

/** `table/key` → value of the writers' rows that a shard has. */
export async function writtenRows(
  runner: Pick<SqlRunner, 'query'>,
  bucket: BucketId,
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const table of TABLE_NAMES) {
    const rows = await runner.query(TABLES[table].read, [bucket]);
    for (const row of rows) found.set(`${table}/${String(row['k'])}`, String(row['v']));
  }
  return found;
}
