/**
 * Writes one user: fence and conflict in one round trip, in the form of `orders/statements.ts`. Affected 0: not the
 * owner. Otherwise `insertId` 0: the row is new; 1: the id is in use. Whether the email is free was decided in the
 * directory. Values: user id, email, email key (hex), created at, bucket.
 */
export const INSERT_USER = `
INSERT INTO users (bucket, user_id, email, email_key, created_at)
SELECT n.b, n.u, n.e, n.k, n.c
FROM (
  SELECT bucket b, CAST(? AS SIGNED) u, ? e, UNHEX(?) k, CAST(? AS DATETIME(3)) c
  FROM bucket_ownership
  WHERE bucket = ? AND state = 'owned'
  LOCK IN SHARE MODE
) n
ON DUPLICATE KEY UPDATE user_id = IF(LAST_INSERT_ID(1), users.user_id, users.user_id)`;

/** One user with the ownership of the bucket; primary keys only. Values: user id, bucket. */
export const READ_USER = `
SELECT w.state, w.moved_to, u.user_id, u.email, u.email_key, u.created_at
FROM bucket_ownership w
LEFT JOIN users u ON u.bucket = w.bucket AND u.user_id = ? AND w.state = 'owned'
WHERE w.bucket = ?`;

/** The fence of a transaction: shared lock on the ownership row until commit. Value: bucket. */
export const LOCK_OWNERSHIP =
  'SELECT state, moved_to FROM bucket_ownership WHERE bucket = ? LOCK IN SHARE MODE';

/** Only behind the fence. Values: bucket, user id. */
export const LOCK_USER =
  'SELECT user_id, email, email_key, created_at FROM users WHERE bucket = ? AND user_id = ? FOR UPDATE';

/** Only behind {@link LOCK_USER}. Values: email, email key (hex), bucket, user id. */
export const UPDATE_EMAIL =
  'UPDATE users SET email = ?, email_key = UNHEX(?) WHERE bucket = ? AND user_id = ?';
