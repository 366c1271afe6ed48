import { describe, expect, test } from 'vitest';
import type { SqlRow, SqlRunner, SqlValue } from '../../../src/database/contracts.ts';
import {
  COUNT_BUCKETS,
  MAX_SIGHTINGS,
  SIGHTING_ROW,
  SUM_OWNED_BUCKETS,
  SUM_SHARD,
} from '../../../src/revenue/statements.ts';
import { sumBucketGroups, sumOwnedBuckets, sumShard } from '../../../src/revenue/store.ts';

const START_MS = Date.UTC(2026, 0, 1);
const CROSSING = {
  fromBucket: 1,
  toBucket: 2,
  amountCents: 7,
  createdAt: '2025-01-01T00:00:00.000Z',
  departedAtMs: START_MS - 60_000,
};

function ledgerRow(changes: SqlRow = {}): SqlRow {
  const result = JSON.stringify(CROSSING);
  return { kind: SIGHTING_ROW, saga_id: 's', step: 'remove-source', result, ...changes };
}

/** A shard that answers with these rows, whatever it is asked. */
function shardWith(rows: readonly SqlRow[]) {
  const asked: (readonly SqlValue[])[] = [];
  const runner: Pick<SqlRunner, 'query'> = {
    query: (_, values) => {
      asked.push(values);
      return Promise.resolve(rows);
    },
  };
  return { runner: runner as SqlRunner, asked };
}

async function sightingsOf(rows: readonly SqlRow[]) {
  return (await sumOwnedBuckets(shardWith(rows).runner, START_MS)).sightings;
}

describe('the ledger’s rows that come with sums', () => {
  test.each([
    ['remove-source', 'departure'],
    ['local-departure', 'departure'],
    ['confirm-target', 'arrival'],
    ['local-arrival', 'arrival'],
  ])('%s tells of a %s', async (step, end) => {
    expect(await sightingsOf([ledgerRow({ step })])).toEqual([
      { end, sagaId: 's', crossing: CROSSING },
    ]);
  });

  test('count by the time of the departure, and say nothing of orders that stayed in their bucket', async () => {
    const before = JSON.stringify({ ...CROSSING, departedAtMs: CROSSING.departedAtMs - 1 });
    expect(
      await sightingsOf([ledgerRow({ result: before }), ledgerRow({ result: 'null' })]),
    ).toEqual([]);
  });

  test('are read from a while before that, as clocks differ', async () => {
    const { runner, asked } = shardWith([]);
    await sumOwnedBuckets(runner, START_MS);
    expect(asked).toEqual([['2025-12-31 23:58:50.000']]);
  });

  test('are refused when there are more than are looked at: later for a total, for good for a report', async () => {
    const row = ledgerRow();
    const { runner } = shardWith(Array.from({ length: MAX_SIGHTINGS + 1 }, () => row));
    await expect(sumOwnedBuckets(runner, START_MS)).rejects.toMatchObject({
      code: 'too-many-requests',
      retryable: true,
    });
    const question = { from: null, to: null, groupBy: 'none', startMs: START_MS } as const;
    await expect(sumBucketGroups(runner, [1], question)).rejects.toMatchObject({
      code: 'conflict',
      retryable: false,
    });
  });
});

describe('the sum of a shard’s buckets together', () => {
  const NONE = { saga_id: null, step: null, result: null };
  const owned = [1, 4].map((bucket) => ({ bucket, epoch: 2, sums: null, ...NONE }));
  const all = (sums: string): SqlRow => ({ bucket: null, epoch: null, sums, ...NONE });
  /** A shard that answers each statement by rows of its own. */
  const shardAnswering = (rows: Readonly<Record<string, readonly SqlRow[]>>): SqlRunner => {
    const runner: Pick<SqlRunner, 'query'> = { query: (text) => Promise.resolve(rows[text] ?? []) };
    return runner as SqlRunner;
  };
  const few = [{ owned: 2, others: 0 }];

  test('is that of all rows without those that are not the shard’s', async () => {
    const foreign = ['2 30', '1 5'].map((sums, bucket) => ({
      bucket,
      epoch: null,
      sums,
      ...NONE,
    }));
    const rows = [all('9 9007199254740991'), ...owned, ...foreign, ledgerRow()];
    const runner = shardAnswering({ [COUNT_BUCKETS]: few, [SUM_SHARD]: rows });
    expect(await sumShard(runner, START_MS)).toEqual({
      sums: [],
      together: {
        buckets: [
          { bucket: 1, epoch: 2 },
          { bucket: 4, epoch: 2 },
        ],
        orders: 6,
        cents: 9_007_199_254_740_956n,
      },
      sightings: [{ end: 'departure', sagaId: 's', crossing: CROSSING }],
    });
  });

  test('is not taken when it is too large to be exact; then each bucket is summed', async () => {
    const rows = [all('9 9007199254740992'), ...owned];
    const each = owned.map((row) => ({ ...row, sums: '5 18014398509481983' }));
    const runner = shardAnswering({
      [COUNT_BUCKETS]: few,
      [SUM_SHARD]: rows,
      [SUM_OWNED_BUCKETS]: each,
    });
    const counts = { epoch: 2, orders: 5, cents: 18_014_398_509_481_983n };
    expect(await sumShard(runner, START_MS)).toEqual({
      sums: [
        { bucket: 1, ...counts },
        { bucket: 4, ...counts },
      ],
      sightings: [],
    });
  });

  test('is not asked for when the shard has many rows that it does not own', async () => {
    const each = owned.map((row) => ({ ...row, sums: '5 500' }));
    const counts = [{ owned: '2', others: '1' }];
    const runner = shardAnswering({ [COUNT_BUCKETS]: counts, [SUM_OWNED_BUCKETS]: each });
    const { sums, together } = await sumShard(runner, START_MS);
    expect(sums.map(({ bucket, cents }) => [bucket, cents])).toEqual([
      [1, 500n],
      [4, 500n],
    ]);
    expect(together).toBeUndefined();
  });
});
