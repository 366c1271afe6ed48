-- Upkeep of this server's tables. Neither table is sharded or moved: both tell of copies on this server.

-- Every unit of maintenance: who, what, why, when, how long, before and after, how it ended. Written before the statement
-- (status 'running') and after it; a row left 'running' by a process that died is closed by the next unit on the shard.
CREATE TABLE maintenance_log (
  log_id BIGINT NOT NULL AUTO_INCREMENT,
  run_id VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  table_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  action VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- Why, in words.
  reason VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  requested_by VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  -- The text that ran; NULL when none did.
  statement TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  -- 'running', 'done', 'unneeded', 'skipped', 'failed', 'abandoned'.
  status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  -- How it ended: a stable code and a sentence.
  code VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NULL,
  detail VARCHAR(1000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  -- JSON.
  figures_before TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  figures_after TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
  started_at DATETIME(3) NOT NULL,
  finished_at DATETIME(3) NULL,
  statement_ms BIGINT NULL,
  -- The longest that others were seen waiting for it.
  blocked_ms BIGINT NULL,
  PRIMARY KEY (log_id),
  KEY maintenance_log_by_table (table_name, action, status, log_id),
  KEY maintenance_log_by_status (status, log_id),
  KEY maintenance_log_by_age (started_at)
) ENGINE=InnoDB;

-- What the engines do not keep about a table.
CREATE TABLE maintenance_tables (
  table_name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  -- JSON, rows per allocated page by index: after the last rebuild, or the best seen since.
  baseline TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  rebuilt_at DATETIME(3) NULL,
  updated_at DATETIME(3) NOT NULL,
  PRIMARY KEY (table_name)
) ENGINE=InnoDB;
