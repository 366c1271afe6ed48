import type { OrchestrationClient } from '../durable/client.ts';
import { mapBounded } from '../kernel/bounded.ts';
import type { Services } from '../services.ts';
import { ingestOrchestration, laneInstanceId, laneOrchestration } from './contracts.ts';
import { startIngestion } from './intake.ts';
import { NO_COUNTS, addCounts, type Counts, type IngestionResult, type Manifest } from './model.ts';
import { createIngestionStore } from './store.ts';

/** An ingestion as a caller sees it (API.md). */
export type IngestionView = Omit<IngestionResult, 'status' | 'finishedAt'> & {
  readonly status: 'running' | 'completed' | 'failed';
  readonly finishedAt: string | null;
};

const NOTHING_YET = { received: 0, counts: NO_COUNTS, step: 0, lanes: 0 };

/** Lanes asked at once; there are at most as many as chunks may run at once. */
const LANES_AT_ONCE = 8;

/**
 * How far an ingestion is; undefined when there is none. One that was accepted but never started (a crash in between)
 * is started now, so that nothing accepted depends on its sender coming back.
 */
export async function describeIngestion(
  services: Pick<Services, 'blobs'>,
  client: OrchestrationClient,
  ingestionId: string,
): Promise<IngestionView | undefined> {
  const store = createIngestionStore(services.blobs);
  const result = await store.readResult(ingestionId);
  if (result !== undefined) return result;
  const manifest = await store.readManifest(ingestionId);
  if (manifest === undefined) return undefined;
  const instance = await client.status(ingestOrchestration, ingestionId);
  if (instance === undefined) await startIngestion(client, ingestionId);
  const ended = instance?.state === 'failed' || instance?.state === 'terminated';
  const { received, counts, step, lanes } = instance?.status ?? NOTHING_YET;
  const written = await laneCounts(
    client,
    Array.from({ length: lanes }, (_, lane) => laneInstanceId(ingestionId, step, lane)),
  );
  // It may have ended since the first look.
  return (
    (await store.readResult(ingestionId)) ??
    unfinished(manifest, {
      ...addCounts(counts, written),
      received,
      status: ended ? 'failed' : 'running',
    })
  );
}

function unfinished(
  manifest: Manifest,
  progress: Counts & { readonly received: number; readonly status: 'running' | 'failed' },
): IngestionView {
  const { ingestionId, createdAt } = manifest;
  const { status, received, ...counts } = progress;
  return {
    ingestionId,
    status,
    received,
    ...counts,
    rejects: [],
    conflicting: [],
    startedAt: createdAt,
    finishedAt: null,
  };
}

async function laneCounts(
  client: OrchestrationClient,
  instanceIds: readonly string[],
): Promise<Counts> {
  const counts = await mapBounded(instanceIds, LANES_AT_ONCE, async (instanceId) => {
    const lane = await client.status(laneOrchestration, instanceId);
    return lane?.output?.counts ?? lane?.status?.counts ?? NO_COUNTS;
  });
  return counts.reduce(addCounts, NO_COUNTS);
}
