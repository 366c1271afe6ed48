/**
 * Claims a key on the owner of its bucket. Affected 0: not the owner. Otherwise `insertId` 0: claimed now, 1: claimed
 * before for the same request, 2: for another one. One round trip; see FACTS-mysql 3 for the form, `orders/statements.ts`
 * for why each part is there. Values: scope, key hash, request hash (hex), resource id, created at, bucket.
 */
export const CLAIM_KEY = `
INSERT INTO idempotency_keys (bucket, scope, key_hash, request_hash, resource_id, created_at)
SELECT n.b, n.s, n.k, n.h, n.r, n.c
FROM (
  SELECT bucket b, ? s, UNHEX(?) k, UNHEX(?) h, CAST(? AS SIGNED) r, CAST(? AS DATETIME(3)) c
  FROM bucket_ownership
  WHERE bucket = ? AND state = 'owned'
  LOCK IN SHARE MODE
) n
ON DUPLICATE KEY UPDATE resource_id = IF(
  LAST_INSERT_ID(IF(idempotency_keys.request_hash = n.h, 1, 2)),
  idempotency_keys.resource_id, idempotency_keys.resource_id)`;

/** What a key was claimed for, with the ownership of its bucket. Values: scope, key hash (hex), bucket. */
export const READ_CLAIM = `
SELECT w.state, w.moved_to, k.resource_id, k.created_at
FROM bucket_ownership w
LEFT JOIN idempotency_keys k
  ON k.bucket = w.bucket AND k.scope = ? AND k.key_hash = UNHEX(?) AND w.state = 'owned'
WHERE w.bucket = ?`;
