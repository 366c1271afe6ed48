/**
 * Unfinished sagas of owned buckets, oldest first: one range of the index `sagas_by_status` per status and kind. Values
 * per range: status, kind, the time before which it began, with `after` its time twice and its saga id, the limit; at
 * the end the limit again.
 */
export function findUnfinished(ranges: number, after: boolean): string {
  const later = after ? 'AND s.created_at >= ? AND (s.created_at > ? OR s.saga_id > ?)' : '';
  const range = `
(SELECT s.bucket, s.saga_id, s.kind, s.created_at, s.updated_at
 FROM sagas s FORCE INDEX (sagas_by_status)
 STRAIGHT_JOIN bucket_ownership w ON w.bucket = s.bucket AND w.state = 'owned'
 WHERE s.status = ? AND s.kind = ? AND s.created_at < ? ${later}
 ORDER BY s.created_at, s.saga_id
 LIMIT ?)`;
  const all = Array.from({ length: ranges }, () => range).join('\nUNION ALL');
  return `${all}
ORDER BY created_at, saga_id
LIMIT ?`;
}

/**
 * In a transaction that holds the fence: whoever changes the row as it was found may start its saga again; affected 0:
 * it got on meanwhile. Values: now, bucket, saga, the time it was found with.
 */
export const CLAIM_UNFINISHED = `
UPDATE sagas SET updated_at = ?
WHERE bucket = ? AND saga_id = ? AND updated_at = ? AND status IN ('running', 'compensating')`;

/** Values: bucket, saga. */
export const READ_INPUT = 'SELECT input FROM sagas WHERE bucket = ? AND saga_id = ?';
