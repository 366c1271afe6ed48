/**
 * Named instants in the write paths at which a test may pause, fail or kill the process. The deployed
 * probe does nothing; the chaos suite passes one that acts on names.
 */
export type ProbePoint =
  | 'orders.beforeInsert'
  | 'orders.afterInsert'
  | 'orders.beforeBatchCommit'
  | 'orders.afterBatchCommit'
  | 'ingestion.afterUpload'
  | 'ingestion.afterManifest'
  | 'ingestion.afterStart'
  | 'ingestion.beforeChunk'
  | 'ingestion.afterChunk'
  | 'ingestion.beforeDefer'
  | 'ingestion.afterDefer'
  | 'revenue.afterChunk'
  | 'sagas.beforeStep'
  | 'sagas.beforeCommit'
  | 'sagas.afterCommit'
  | 'sagas.afterRecord'
  | 'sagas.beforeStart'
  | 'sagas.beforeLocalCommit'
  | 'sagas.afterLocalCommit'
  | 'rebalancing.afterPrepare'
  | 'rebalancing.beforeChunk'
  | 'rebalancing.afterChunk'
  | 'rebalancing.beforeRepair'
  | 'rebalancing.afterPass'
  | 'rebalancing.beforeFence'
  | 'rebalancing.afterFence'
  | 'rebalancing.beforeGiveAway'
  | 'rebalancing.afterGiveAway'
  | 'rebalancing.afterTakeOver'
  | 'rebalancing.afterMap'
  | 'rebalancing.afterCertificate'
  | 'rebalancing.beforeLift'
  | 'rebalancing.afterCancelMark'
  | 'rebalancing.afterCancelLift'
  | 'rebalancing.afterCancelChunk'
  | 'rebalancing.afterPurgeChunk'
  | 'rebalancing.afterClaim'
  | 'maintenance.beforeLock'
  | 'maintenance.afterLogRow'
  | 'maintenance.duringStatement'
  | 'maintenance.afterStatement'
  | 'maintenance.afterLogClose'
  | 'maintenance.afterClaim'
  | 'maintenance.beforeUnit'
  | 'maintenance.afterUnit';

export interface Probe {
  /**
   * `subject` says which of many is at the point (of a saga `id/step/verb`), `detail` what it was given. Throws what
   * the test wants thrown.
   */
  reach(point: ProbePoint, subject?: string, detail?: unknown): Promise<void> | void;
}

export const noopProbe: Probe = { reach: () => undefined };
