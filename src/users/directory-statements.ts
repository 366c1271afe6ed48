/**
 * Takes an email for a user, as `reserved` or `confirmed`: fence and outcome in one round trip, in the form of
 * `sagas/ledger-statements.ts`. Affected 0: not the owner. Otherwise `insertId` says what was there, 0: nothing, it is
 * taken now; 1: the same saga took it before; 2: a released row, taken now; 3: confirmed for the same user; 4: reserved
 * for the same user by another saga; 5: another user's.
 *
 * - The first assignment looks at the row as it was; later ones ask only for `state`, which is set last.
 * - The saga's id is given the column's collation, or a derived table would compare without regard to case.
 *
 * Values: email key (hex), email, user id, state, saga id, time, bucket.
 */
export const TAKE_EMAIL = `
INSERT INTO email_directory (bucket, email_key, email, user_id, state, saga_id, updated_at)
SELECT n.b, n.k, n.e, n.u, n.s, n.i, n.t
FROM (
  SELECT bucket b, UNHEX(?) k, ? e, CAST(? AS SIGNED) u, ? s,
    CONVERT(? USING ascii) COLLATE ascii_bin i, CAST(? AS DATETIME(3)) t
  FROM bucket_ownership
  WHERE bucket = ? AND state = 'owned'
  LOCK IN SHARE MODE
) n
ON DUPLICATE KEY UPDATE
  user_id = IF(
    LAST_INSERT_ID(CASE
      WHEN email_directory.state = 'released' THEN 2
      WHEN email_directory.user_id <> n.u THEN 5
      WHEN email_directory.saga_id = n.i THEN 1
      WHEN email_directory.state = 'confirmed' THEN 3
      ELSE 4 END) = 2,
    n.u, email_directory.user_id),
  saga_id = IF(email_directory.state = 'released', n.i, email_directory.saga_id),
  updated_at = IF(email_directory.state = 'released', n.t, email_directory.updated_at),
  state = IF(email_directory.state = 'released', n.s, email_directory.state)`;

/**
 * Settles what a saga reserved, nothing else. In a transaction that holds the bucket's fence. Values: new state, time,
 * bucket, email key (hex), saga id, user id.
 */
export const SETTLE_RESERVATION = `
UPDATE email_directory SET state = ?, updated_at = ?
WHERE bucket = ? AND email_key = UNHEX(?) AND state = 'reserved' AND saga_id = ? AND user_id = ?`;

/**
 * Frees an email that a user has lost. In a transaction that holds the bucket's fence. Values: saga id, time, bucket,
 * email key (hex), user id.
 */
export const RELEASE_EMAIL = `
UPDATE email_directory SET saga_id = ?, updated_at = ?, state = 'released'
WHERE bucket = ? AND email_key = UNHEX(?) AND user_id = ? AND state IN ('reserved', 'confirmed')`;

/** Who has an email, with the ownership of its bucket; primary keys only. Values: email key (hex), bucket. */
export const READ_EMAIL = `
SELECT w.state, w.moved_to, d.user_id, d.state AS held, d.saga_id
FROM bucket_ownership w
LEFT JOIN email_directory d
  ON d.bucket = w.bucket AND d.email_key = UNHEX(?) AND w.state = 'owned'
WHERE w.bucket = ?`;

/**
 * Reservations of this shard that have not moved for long, oldest first, by `email_directory_by_state`, which is forced:
 * from the ownership rows the whole directory would be read. Only of buckets owned here, since old copies of moved
 * buckets stay for a while. Values (text protocol): time, limit.
 */
export const READ_OLD_RESERVATIONS = `
SELECT d.email, d.user_id, d.saga_id
FROM email_directory d FORCE INDEX (email_directory_by_state)
STRAIGHT_JOIN bucket_ownership w ON w.bucket = d.bucket AND w.state = 'owned'
WHERE d.state = 'reserved' AND d.updated_at < ?
ORDER BY d.updated_at
LIMIT ?`;
