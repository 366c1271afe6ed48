import { randomUUID } from 'node:crypto';
import type { OrchestrationClient } from '../durable/client.ts';
import { keyHash } from '../idempotency/keys.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { Services } from '../services.ts';
import { laneInstanceId, laneOrchestration, reportOrchestration } from './contracts.ts';
import type { ReportFailure } from './contracts.ts';
import type { ReportRequest, ReportResult } from './model.ts';
import { createReportStore } from './report-store.ts';
import type { ReportOutcome } from './report-store.ts';

/** A report as its reader sees it (API.md). */
export interface ReportView {
  readonly reportId: string;
  readonly status: 'running' | 'completed' | 'failed';
  readonly progress: { readonly chunksDone: number; readonly chunks: number };
  readonly result?: ReportResult;
  readonly failure?: ReportFailure;
}

/**
 * Accepts a report and starts it. The request blob, written only when there is none, is the moment at which the report
 * exists: a crash after it leaves a report that a repeat, or a question for its status, starts. The same key with the
 * same request is `replayed`; with another one it throws `idempotency-conflict`.
 */
export async function requestReport(
  services: Pick<Services, 'blobs'>,
  client: OrchestrationClient,
  wanted: { readonly request: ReportRequest; readonly idempotencyKey: string | undefined },
): Promise<{ readonly reportId: string; readonly kind: 'accepted' | 'replayed' }> {
  const { idempotencyKey, request } = wanted;
  const reportId = idempotencyKey === undefined ? randomUUID() : derivedReportId(idempotencyKey);
  const settled = await createReportStore(services.blobs).settleRequest(reportId, request);
  if (!isSame(settled.request, request)) {
    throw new PermanentError(
      'idempotency-conflict',
      'This Idempotency-Key was used for another report. Send a new key for a new report, or the first body to get the first one again.',
    );
  }
  await startReport(client, reportId);
  return { reportId, kind: settled.isNew ? 'accepted' : 'replayed' };
}

/** How far a report is, and its result; undefined when there is none. One that was accepted but never started is started now. */
export async function describeReport(
  services: Pick<Services, 'blobs'>,
  client: OrchestrationClient,
  reportId: string,
): Promise<ReportView | undefined> {
  const store = createReportStore(services.blobs);
  const outcome = await store.readOutcome(reportId);
  if (outcome !== undefined) return finishedView(reportId, outcome);
  if ((await store.readRequest(reportId)) === undefined) return undefined;
  const instance = await client.status(reportOrchestration, reportId);
  if (instance === undefined) await startReport(client, reportId);
  const { chunks, lanes } = instance?.status ?? { chunks: 0, lanes: 0 };
  const progress = { chunksDone: await countDone(client, reportId, lanes), chunks };
  // It may have ended since the first look.
  const late = await store.readOutcome(reportId);
  if (late !== undefined) return finishedView(reportId, late);
  if (instance?.state !== 'failed' && instance?.state !== 'terminated') {
    return { reportId, status: 'running', progress };
  }
  const failure = { code: 'internal', message: 'The report was ended before it was complete.' };
  return { reportId, status: 'failed', progress, failure };
}

async function startReport(client: OrchestrationClient, reportId: string): Promise<void> {
  await client.ensureStarted(reportOrchestration, reportId, { reportId });
}

function finishedView(reportId: string, outcome: ReportOutcome): ReportView {
  const { kind, progress } = outcome;
  return kind === 'completed'
    ? { reportId, status: kind, progress, result: outcome.result }
    : { reportId, status: kind, progress, failure: outcome.failure };
}

/** Lanes asked at once; there are at most as many as shards may be summed at once. */
const LANES_AT_ONCE = 8;

async function countDone(
  client: OrchestrationClient,
  reportId: string,
  lanes: number,
): Promise<number> {
  const indices = Array.from({ length: lanes }, (_, index) => index);
  const done = await mapBounded(indices, LANES_AT_ONCE, async (index) => {
    const lane = await client.status(laneOrchestration, laneInstanceId(reportId, index));
    return lane?.output?.chunksDone ?? lane?.status?.chunksDone ?? 0;
  });
  return done.reduce((sum, own) => sum + own, 0);
}

function isSame(a: ReportRequest, b: ReportRequest): boolean {
  return a.from === b.from && a.to === b.to && a.groupBy === b.groupBy;
}

/** The id of the report that a key stands for, in the form of a UUID. */
function derivedReportId(key: string): string {
  const hex = keyHash('revenue-reports', key);
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return [...parts, hex.slice(20, 32)].join('-');
}
