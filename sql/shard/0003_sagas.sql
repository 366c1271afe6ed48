-- Writes that touch two shards. Every row here moves with its bucket.

-- What a step of a saga did, written first, in the transaction of its effect: a step delivered twice has
-- its effect once and gives its recorded result again, and a closed row refuses a step that comes late.
CREATE TABLE saga_steps (
  bucket SMALLINT UNSIGNED NOT NULL,
  saga_id VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  step VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- 'done', 'undone' (taken back, or closed before it ran), 'sealed' (closed before it ran).
  state VARCHAR(8) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- The step's answer as JSON, when it was done.
  result TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  updated_at DATETIME(3) NOT NULL,
  PRIMARY KEY (bucket, saga_id, step),
  KEY saga_steps_by_age (updated_at)
) ENGINE=InnoDB;

-- One row per saga, in the saga's home bucket: what was asked, how it stands, how it ended.
CREATE TABLE sagas (
  bucket SMALLINT UNSIGNED NOT NULL,
  saga_id VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  kind VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- 'running', 'compensating', 'completed', 'compensated'.
  status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- 1 when it does not get on and somebody should look.
  attention TINYINT UNSIGNED NOT NULL,
  input TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  -- JSON: the steps as a caller sees them, and the answer or the error it ended with.
  steps TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  outcome TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  created_at DATETIME(3) NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  finished_at DATETIME(3) NULL,
  PRIMARY KEY (bucket, saga_id),
  -- Lists are merged from one short range per status and kind; the sweep reads unfinished ones by age.
  KEY sagas_by_status (status, kind, created_at, saga_id)
) ENGINE=InnoDB;

-- What operators asked of a saga, and why. Kept as long as the saga's row.
CREATE TABLE saga_audit (
  bucket SMALLINT UNSIGNED NOT NULL,
  saga_id VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  entry BIGINT NOT NULL,
  verb VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  step VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
  reason VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  requested_by VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  request_id VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  requested_at DATETIME(3) NOT NULL,
  -- 'requested', 'applied', 'refused'.
  state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  settled_at DATETIME(3) NULL,
  PRIMARY KEY (bucket, saga_id, entry)
) ENGINE=InnoDB;

-- Who has which email, over all shards: the row lives in the bucket of the normalised email.
CREATE TABLE email_directory (
  bucket SMALLINT UNSIGNED NOT NULL,
  -- SHA-256 of the normalised email, as in users.
  email_key BINARY(32) NOT NULL,
  -- The normalised email: what the bucket is the hash of.
  email VARCHAR(320) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  user_id BIGINT NOT NULL,
  -- 'reserved', 'confirmed', 'released'.
  state VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- The saga that brought the row into its state.
  saga_id VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  PRIMARY KEY (bucket, email_key),
  KEY email_directory_by_state (state, updated_at)
) ENGINE=InnoDB;

-- The directory decides who has an email; a key per shard would only get in the way of old copies of
-- buckets that moved, and cost each registration one more index.
ALTER TABLE users DROP INDEX users_email;

-- state: 0 an order like any other; 1 locked at the source of a transfer (still seen and counted); 2 pending at its
-- target (not yet); 3 moved to another user (not any more, kept so that a repeat inserts nothing again).
-- placed_for: whom the order was placed for, when a transfer inside the bucket gave its row to another user.
ALTER TABLE orders
  ADD COLUMN state TINYINT UNSIGNED NOT NULL DEFAULT 0,
  ADD COLUMN placed_for BIGINT NULL;

-- One row per order whose state is not 0: small, so that the sweep finds them without an index on orders.
CREATE TABLE order_transfers (
  bucket SMALLINT UNSIGNED NOT NULL,
  order_id BIGINT NOT NULL,
  -- The user of the order's row in this bucket, and the one at the other end.
  user_id BIGINT NOT NULL,
  peer_user_id BIGINT NOT NULL,
  -- As orders.state.
  state TINYINT UNSIGNED NOT NULL,
  saga_id VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  PRIMARY KEY (bucket, order_id),
  KEY order_transfers_by_state (state, updated_at)
) ENGINE=InnoDB;
