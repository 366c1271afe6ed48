/**
 * The journal: one row per saga in its home bucket. Writes are fenced and tell what they met in one round trip, as in
 * `orders/statements.ts`. Affected 0: not the owner.
 */

/**
 * Writes a new saga down. `insertId` 0: new, 1: known with the same kind and input, 2: known with another. Values: saga,
 * kind, input (canonical JSON), time, bucket.
 */
export const BEGIN_SAGA = `
INSERT INTO sagas (bucket, saga_id, kind, status, attention, input, created_at, updated_at)
SELECT n.b, n.i, n.k, 'running', 0, n.p, n.t, n.t
FROM (
  SELECT bucket b, ? i, ? k, ? p, CAST(? AS DATETIME(3)) t
  FROM bucket_ownership
  WHERE bucket = ? AND state = 'owned'
  LOCK IN SHARE MODE
) n
ON DUPLICATE KEY UPDATE kind = IF(
  LAST_INSERT_ID(IF(sagas.kind = n.k AND sagas.input = n.p, 1, 2)), sagas.kind, sagas.kind)`;

/**
 * Writes down how a saga stands. A row that has ended (`finished_at`) stays as it is: hence the order of the
 * assignments, which take effect one after the other. `insertId` 0: there was no row, 1: changed, 2: had ended this way
 * before, 3: had ended otherwise. Values: saga, kind, status, attention, input, steps, outcome, time, time of the end or
 * null, bucket.
 */
export const RECORD_SAGA = `
INSERT INTO sagas
  (bucket, saga_id, kind, status, attention, input, steps, outcome, created_at, updated_at, finished_at)
SELECT n.b, n.i, n.k, n.s, n.a, n.p, n.v, n.o, n.t, n.t, n.f
FROM (
  SELECT bucket b, ? i, ? k, ? s, CAST(? AS UNSIGNED) a, ? p, ? v, ? o,
    CAST(? AS DATETIME(3)) t, CAST(? AS DATETIME(3)) f
  FROM bucket_ownership
  WHERE bucket = ? AND state = 'owned'
  LOCK IN SHARE MODE
) n
ON DUPLICATE KEY UPDATE
  status = IF(
    LAST_INSERT_ID(IF(sagas.finished_at IS NULL, 1, IF(sagas.status = n.s, 2, 3))) = 1,
    n.s, sagas.status),
  attention = IF(sagas.finished_at IS NULL, n.a, sagas.attention),
  steps = IF(sagas.finished_at IS NULL, n.v, sagas.steps),
  outcome = IF(sagas.finished_at IS NULL, n.o, sagas.outcome),
  updated_at = IF(sagas.finished_at IS NULL, n.t, sagas.updated_at),
  finished_at = IF(sagas.finished_at IS NULL, n.f, sagas.finished_at)`;

/** A saga's row with the ownership of its bucket. Primary keys only. Values: saga, bucket. */
export const READ_SAGA = `
SELECT w.state, w.moved_to, s.saga_id, s.kind, s.status, s.attention, s.input, s.steps, s.outcome,
  s.created_at, s.updated_at, s.finished_at
FROM bucket_ownership w
LEFT JOIN sagas s ON s.bucket = w.bucket AND s.saga_id = ? AND w.state = 'owned'
WHERE w.bucket = ?`;
