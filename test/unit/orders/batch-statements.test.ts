import { expect, test } from 'vitest';
import { assertOwned, assertUsersExist } from '../../../src/orders/batch-statements.ts';
import { rowSetOf } from '../../../src/orders/row-set.ts';
import { assertGone, assertReceiving } from '../../../src/rebalancing/move-statements.ts';
import type { BucketId } from '../../../src/kernel/ids.ts';
import { anOrderRow } from '../../support/batch-orders.ts';

/** A column without a name is named by its text; the driver would compile and keep a reader for each of them. */
test('what is asserted has the same column whatever its values', () => {
  const statements = [
    assertOwned([1 as BucketId, 2 as BucketId]),
    assertUsersExist(rowSetOf([anOrderRow('1', 1)])),
    assertReceiving(7, "'token'"),
    assertGone(7, 3),
  ];
  for (const statement of statements) expect(statement).toMatch(/^SELECT IF\(.*\) AS asserted$/);
});
