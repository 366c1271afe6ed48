-- What one chunk of an ingestion did on this shard, written in the transaction that inserts its orders.
-- A chunk that is delivered again finds its row and gives the recorded answer, so that counts stay exact
-- when the process dies between the commit and its report. Not sharded by bucket and never moved: a row
-- tells of one transaction on this server. Removed when the ingestion is summed up; what is left behind
-- (the shard was away just then) may be purged by age.
CREATE TABLE ingestion_chunks (
  ingestion_id VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  chunk VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- Orders that were there already: with the same content + 1 000 000 x with other content.
  duplicates BIGINT NOT NULL,
  -- Buckets that this shard did not own and users that did not exist; their orders were not tried.
  refused_buckets TEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  missing_users MEDIUMTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  created_at DATETIME(3) NOT NULL,
  PRIMARY KEY (ingestion_id, chunk),
  KEY ingestion_chunks_by_age (created_at)
) ENGINE=InnoDB;
