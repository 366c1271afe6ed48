/**
 * Named instants in the write paths at which a test may pause, fail or kill the process. The deployed
 * probe does nothing; the chaos suite passes one that acts on names.
 */
export type ProbePoint =
  | 'orders.beforeInsert'
  | 'orders.afterInsert'
  | 'orders.beforeBatchCommit'
  | 'orders.afterBatchCommit'
  | 'users.beforeInsert'
  | 'users.afterInsert'
  | 'ingestion.afterUpload'
  | 'ingestion.afterManifest'
  | 'ingestion.afterStart'
  | 'ingestion.beforeChunk'
  | 'ingestion.afterChunk'
  | 'ingestion.beforeDefer'
  | 'ingestion.afterDefer'
  | 'revenue.afterChunk';

export interface Probe {
  reach(point: ProbePoint): Promise<void> | void;
}

export const noopProbe: Probe = { reach: () => undefined };
