-- Moves of buckets between shards.

-- fenced_until: when a fence may be lifted by whoever meets it, by this server's clock (UTC).
-- token: the delivery of a move's work that may write (at the target), or decide (at the source).
ALTER TABLE bucket_ownership
  ADD COLUMN fenced_until DATETIME(3) NULL,
  ADD COLUMN token VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL;

-- How far the move of a bucket to this shard is. Not sharded and never moved: it tells of copies on this
-- server. Written in the transaction of the rows it stands for, and removed when the bucket has left again
-- and been purged.
CREATE TABLE bucket_moves (
  bucket SMALLINT UNSIGNED NOT NULL,
  move_id VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  source_shard SMALLINT UNSIGNED NOT NULL,
  -- The source's epoch; the bucket is owned here at the next one.
  epoch INT UNSIGNED NOT NULL,
  -- 'copying', 'checking', 'owned'.
  phase VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- JSON: table and primary key up to which rows were copied, rows per table counted and copied, passes.
  progress TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  started_at DATETIME(3) NOT NULL,
  updated_at DATETIME(3) NOT NULL,
  PRIMARY KEY (bucket)
) ENGINE=InnoDB;
