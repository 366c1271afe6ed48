/**
 * Writes one user: fence, idempotency and conflicts in one round trip, in the form of `orders/statements.ts`. Affected
 * 0: not the owner. Otherwise `insertId` says what is in the way, 0: nothing, the row is new; 1: this very row (same
 * id, email and time); 2: the user, with this email, registered at another time; 3: the user, with another email;
 * 4: another user with this email. The update runs for a duplicate of either unique key, the primary one first.
 * Values: user id, email, email key (hex), created at, bucket.
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
ON DUPLICATE KEY UPDATE user_id = IF(
  LAST_INSERT_ID(
    IF(users.user_id = n.u, IF(users.email_key = n.k, IF(users.created_at = n.c, 1, 2), 3), 4)),
  users.user_id, users.user_id)`;

/** One user with the ownership of the bucket; primary keys only. Values: user id, bucket. */
export const READ_USER = `
SELECT w.state, w.moved_to, u.user_id, u.email, u.email_key, u.created_at
FROM bucket_ownership w
LEFT JOIN users u ON u.bucket = w.bucket AND u.user_id = ? AND w.state = 'owned'
WHERE w.bucket = ?`;

/**
 * Who has an email on this shard, whatever the state of the bucket: the row may be an old copy, so the reader asks
 * the owner of the user's bucket next. At most one, by the unique key `users_email`. Value: email key (hex).
 */
export const FIND_EMAIL = 'SELECT user_id FROM users WHERE email_key = UNHEX(?)';

/** The fence of a transaction: shared lock on the ownership row until commit. Value: bucket. */
export const LOCK_OWNERSHIP =
  'SELECT state, moved_to FROM bucket_ownership WHERE bucket = ? LOCK IN SHARE MODE';

/** Only after {@link LOCK_OWNERSHIP}. Values: email, email key (hex), bucket, user id. */
export const UPDATE_EMAIL =
  'UPDATE users SET email = ?, email_key = UNHEX(?) WHERE bucket = ? AND user_id = ?';
