/**
 * Sagas of the buckets the shard owns, newest first: merged from one range per status and kind, each the end of the
 * index `sagas_by_status`, so that no more rows are read than may be shown (but for rows of buckets that moved away and
 * were not purged yet).
 *
 * Values per range: status, kind, then with `after` its time twice and its saga id, with `attention` 0 or 1, the limit;
 * at the end the limit again.
 */
export function listSagas(
  ranges: number,
  filter: { readonly after: boolean; readonly attention: boolean },
): string {
  const after = filter.after ? 'AND s.created_at <= ? AND (s.created_at < ? OR s.saga_id < ?)' : '';
  const range = `
(SELECT s.saga_id, s.kind, s.status, s.attention, s.steps, s.outcome, s.created_at, s.updated_at, s.finished_at
 FROM sagas s FORCE INDEX (sagas_by_status)
 STRAIGHT_JOIN bucket_ownership w ON w.bucket = s.bucket AND w.state IN ('owned', 'fenced')
 WHERE s.status = ? AND s.kind = ? ${after} ${filter.attention ? 'AND s.attention = ?' : ''}
 ORDER BY s.created_at DESC, s.saga_id DESC
 LIMIT ?)`;
  const all = Array.from({ length: ranges }, () => range).join('\nUNION ALL');
  return `${all}
ORDER BY created_at DESC, saga_id DESC
LIMIT ?`;
}
