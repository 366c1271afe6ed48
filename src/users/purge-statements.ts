/**
 * Released emails of owned buckets by age, from the index `email_directory_by_state`, which holds the whole key. Values:
 * the time before which they were released, the limit.
 */
export const FIND_RELEASED = `
SELECT d.bucket, HEX(d.email_key) AS email_key
FROM email_directory d FORCE INDEX (email_directory_by_state)
STRAIGHT_JOIN bucket_ownership w ON w.bucket = d.bucket AND w.state = 'owned'
WHERE d.state = 'released' AND d.updated_at < ?
ORDER BY d.updated_at
LIMIT ?`;

/**
 * In a transaction that holds the fences; a row that was taken again stays. Values: JSON array of `[bucket, email key in
 * hex]`, the time before which they were released.
 */
export const DELETE_RELEASED = `
DELETE d
FROM JSON_TABLE(?, '$[*]' COLUMNS (b INT PATH '$[0]', k CHAR(64) PATH '$[1]')) j
STRAIGHT_JOIN email_directory d ON d.bucket = j.b AND d.email_key = UNHEX(j.k)
WHERE d.state = 'released' AND d.updated_at < ?`;
