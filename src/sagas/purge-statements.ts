/**
 * Ledger rows of owned buckets by age, from the index `saga_steps_by_age`, which holds the whole key. Values: the time
 * before which they were written, with `after` its time twice, bucket, saga and step; the limit.
 */
export function findOldSteps(after: boolean): string {
  const later = after
    ? 'AND l.updated_at >= ? AND (l.updated_at > ? OR (l.bucket, l.saga_id, l.step) > (?, ?, ?))'
    : '';
  return `
SELECT l.updated_at, l.bucket, l.saga_id, l.step
FROM saga_steps l FORCE INDEX (saga_steps_by_age)
STRAIGHT_JOIN bucket_ownership w ON w.bucket = l.bucket AND w.state = 'owned'
WHERE l.updated_at < ? ${later}
ORDER BY l.updated_at, l.bucket, l.saga_id, l.step
LIMIT ?`;
}

/** Rows of {@link lookUpSagas}. */
export const SAGA_ROW = 0;

/**
 * How sagas stand, and which of their home buckets the shard has at all: in one statement, so that a saga is not taken
 * for gone because its bucket moved. Values: bucket and saga of each saga; the buckets.
 */
export function lookUpSagas(sagas: number, buckets: number): string {
  return `
(SELECT ${SAGA_ROW} AS kind, s.bucket, s.saga_id, s.finished_at FROM sagas s
 WHERE (s.bucket, s.saga_id) IN (${list('(?, ?)', sagas)}))
UNION ALL
(SELECT ${SAGA_ROW + 1}, w.bucket, NULL, NULL FROM bucket_ownership w
 WHERE w.bucket IN (${list('?', buckets)}) AND w.state IN ('owned', 'fenced'))`;
}

/**
 * In a transaction that holds the fences. A fixed text whatever the number of rows, which are found by their primary key
 * one by one. Values: JSON array of `[bucket, saga, step]`, the time before which they were written.
 */
export const DELETE_STEPS = `
DELETE l
FROM JSON_TABLE(?, '$[*]' COLUMNS (b INT PATH '$[0]', i VARCHAR(100) PATH '$[1]', s VARCHAR(64) PATH '$[2]')) j
STRAIGHT_JOIN saga_steps l ON l.bucket = j.b
  AND l.saga_id = CONVERT(j.i USING ascii) COLLATE ascii_bin
  AND l.step = CONVERT(j.s USING ascii) COLLATE ascii_bin
WHERE l.updated_at < ?`;

/**
 * Ended sagas of owned buckets, oldest first: one range of `sagas_by_status` per status and kind. Values per range:
 * status, kind, the time before which they began, the time before which they ended, the limit; at the end the limit.
 */
export function findEnded(ranges: number): string {
  const range = `
(SELECT s.bucket, s.saga_id, s.created_at
 FROM sagas s FORCE INDEX (sagas_by_status)
 STRAIGHT_JOIN bucket_ownership w ON w.bucket = s.bucket AND w.state = 'owned'
 WHERE s.status = ? AND s.kind = ? AND s.created_at < ? AND s.finished_at < ?
 ORDER BY s.created_at, s.saga_id
 LIMIT ?)`;
  return `${Array.from({ length: ranges }, () => range).join('\nUNION ALL')}
ORDER BY created_at
LIMIT ?`;
}

const SAGAS = `JSON_TABLE(?, '$[*]' COLUMNS (b INT PATH '$[0]', i VARCHAR(100) PATH '$[1]')) j`;

/** In a transaction that holds the fences. Values: JSON array of `[bucket, saga]`; the time before which they ended. */
export const DELETE_ENDED = `
DELETE s FROM ${SAGAS}
STRAIGHT_JOIN sagas s ON s.bucket = j.b AND s.saga_id = CONVERT(j.i USING ascii) COLLATE ascii_bin
WHERE s.finished_at < ?`;

/** What operators asked of sagas whose row is gone, in the same transaction. Values: JSON array of `[bucket, saga]`. */
export const DELETE_AUDIT = `
DELETE a FROM ${SAGAS}
STRAIGHT_JOIN saga_audit a ON a.bucket = j.b AND a.saga_id = CONVERT(j.i USING ascii) COLLATE ascii_bin
LEFT JOIN sagas s ON s.bucket = a.bucket AND s.saga_id = a.saga_id
WHERE s.saga_id IS NULL`;

function list(item: string, count: number): string {
  return Array.from({ length: count }, () => item).join(', ');
}
