import { describe, expect, test } from 'vitest';
import type { SqlRow, SqlRunner, SqlValue } from '../../../src/database/contracts.ts';
import { MAX_SIGHTINGS, SIGHTING_ROW } from '../../../src/revenue/statements.ts';
import { sumBucketGroups, sumOwnedBuckets } from '../../../src/revenue/store.ts';

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
