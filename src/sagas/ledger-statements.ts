/**
 * The ledger: one row per saga and step, in the bucket of the step's effect. Every statement takes the fence (shared
 * lock on the ownership row) and the ledger row (exclusive, also when it is a duplicate) in one round trip, and comes
 * first in the transaction of the effect: two deliveries at once wait for each other here, never behind an effect, and
 * no lock is upgraded, so they do not deadlock (none in 1 920 deliveries, 32 at once, on either engine).
 *
 * Only when one of three or more is rolled back InnoDB leaves those who wait for its row with gap locks that stand in
 * each other's way; the victims meet "contention", and `onOwner` tries them again within milliseconds.
 *
 * Affected 0: not the owner. `insertId` tells what was there, 0: nothing. See FACTS-mysql 3 for the form. Every delivery
 * refreshes the row's time: it is kept for the retention time after the last one.
 */
function enter(state: 'done' | 'undone' | 'sealed', stateIfDone: string): string {
  return `
INSERT INTO saga_steps (bucket, saga_id, step, state, result, updated_at)
SELECT n.b, n.i, n.s, '${state}', NULL, n.t
FROM (
  SELECT bucket b, ? i, ? s, CAST(? AS DATETIME(3)) t
  FROM bucket_ownership
  WHERE bucket = ? AND state = 'owned'
  LOCK IN SHARE MODE
) n
ON DUPLICATE KEY UPDATE state = IF(
  LAST_INSERT_ID(FIELD(saga_steps.state, 'done', 'undone', 'sealed')) = 1,
  ${stateIfDone}, saga_steps.state),
  updated_at = n.t`;
}

/** `insertId` 0: the row was written as done, the effect may follow. 1, 2, 3: it is done, undone, sealed. Values: saga, step, time, bucket. */
export const ENTER_RUN = enter('done', 'saga_steps.state');

/** `insertId` 0: it never ran and is closed now. 1: it was done and is undone now, take its effect back. 2, 3: closed before. Values as above. */
export const ENTER_UNDO = enter('undone', "'undone'");

/** `insertId` 0: it never ran and is sealed now. 1: it is done. 2, 3: closed before. Values as above. */
export const ENTER_SEAL = enter('sealed', 'saga_steps.state');

/** As {@link ENTER_SEAL}, but what it writes is `undone`: not "another way is taken", but "this was refused for good". Values as above. */
export const ENTER_REFUSE = enter('undone', 'saga_steps.state');

/** Values: result (JSON), bucket, saga, step. */
export const RECORD_RESULT =
  'UPDATE saga_steps SET result = ? WHERE bucket = ? AND saga_id = ? AND step = ?';

/** Values: bucket, saga, step. */
export const READ_RESULT =
  'SELECT result FROM saga_steps WHERE bucket = ? AND saga_id = ? AND step = ?';
