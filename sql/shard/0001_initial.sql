-- Every shard has the same schema. Rows that move with a bucket carry it as the first part of their
-- primary key, so that copy, verification, purge and per-bucket sums walk one contiguous range.

-- Which shard of which cluster this database is. Written once; a mismatch with SHARDS stops the app
-- from using the server (a reordered list would otherwise read and write the wrong shard).
CREATE TABLE shard_identity (
  singleton TINYINT UNSIGNED NOT NULL,
  cluster_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  shard_id SMALLINT UNSIGNED NOT NULL,
  shard_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  created_at DATETIME(3) NOT NULL,
  PRIMARY KEY (singleton)
) ENGINE=InnoDB;

-- The fence (DESIGN 3): a write holds a shared lock on its bucket's row and goes ahead only when the
-- state is 'owned'. Only the mover updates these rows.
CREATE TABLE bucket_ownership (
  bucket SMALLINT UNSIGNED NOT NULL,
  state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  epoch INT UNSIGNED NOT NULL,
  moved_to SMALLINT UNSIGNED NULL,
  updated_at DATETIME(3) NOT NULL,
  PRIMARY KEY (bucket)
) ENGINE=InnoDB;

CREATE TABLE users (
  bucket SMALLINT UNSIGNED NOT NULL,
  user_id BIGINT NOT NULL,
  -- As given, trimmed; shown to the user.
  email VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  -- SHA-256 of the normalised email: fixed width, and no collation decides what is equal.
  email_key BINARY(32) NOT NULL,
  created_at DATETIME(3) NOT NULL,
  PRIMARY KEY (bucket, user_id),
  UNIQUE KEY users_email (email_key)
) ENGINE=InnoDB;

CREATE TABLE orders (
  bucket SMALLINT UNSIGNED NOT NULL,
  order_id BIGINT NOT NULL,
  user_id BIGINT NOT NULL,
  amount_cents INT NOT NULL,
  created_at DATETIME(3) NOT NULL,
  PRIMARY KEY (bucket, order_id),
  -- A user's newest orders. The primary key is appended by InnoDB.
  KEY orders_by_user (user_id, created_at, order_id)
) ENGINE=InnoDB;

-- What an Idempotency-Key was first used for: the hash of the request it came with and the id that
-- request was given, so that a repeat finds the same resource and another body is refused.
CREATE TABLE idempotency_keys (
  bucket SMALLINT UNSIGNED NOT NULL,
  scope VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  key_hash BINARY(32) NOT NULL,
  request_hash BINARY(32) NOT NULL,
  resource_id BIGINT NOT NULL,
  created_at DATETIME(3) NOT NULL,
  PRIMARY KEY (bucket, scope, key_hash)
) ENGINE=InnoDB;
