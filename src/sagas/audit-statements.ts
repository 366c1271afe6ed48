/** Statements about `saga_audit`. Each is fenced or joined with the ownership of its bucket. */

/** One entry, unless it is there; affected 0: not the owner. Values: saga, entry, verb, step, reason, who, request, time, bucket. */
export const INSERT_ENTRY = `
INSERT INTO saga_audit (bucket, saga_id, entry, verb, step, reason, requested_by, request_id, requested_at, state)
SELECT n.b, n.i, n.e, n.v, n.s, n.r, n.w, n.q, n.t, 'requested'
FROM (
  SELECT bucket b, ? i, ? e, ? v, ? s, ? r, ? w, ? q, CAST(? AS DATETIME(3)) t
  FROM bucket_ownership
  WHERE bucket = ? AND state = 'owned'
  LOCK IN SHARE MODE
) n
ON DUPLICATE KEY UPDATE entry = saga_audit.entry`;

/** In a transaction that holds the fence; an entry that was settled stays as it is. Values: state, time, bucket, saga, entry. */
export const SETTLE_ENTRY = `
UPDATE saga_audit SET state = ?, settled_at = ?
WHERE bucket = ? AND saga_id = ? AND entry = ? AND state = 'requested'`;

/** Ownership of the bucket, and entries of the saga, newest first. Values: saga, bucket, limit. */
export const READ_ENTRIES = `
SELECT w.state, w.moved_to, a.entry, a.verb, a.step, a.reason, a.requested_by, a.request_id, a.requested_at,
  a.state AS entry_state, a.settled_at
FROM bucket_ownership w
LEFT JOIN saga_audit a ON a.bucket = w.bucket AND a.saga_id = ?
WHERE w.bucket = ?
ORDER BY a.entry DESC
LIMIT ?`;
