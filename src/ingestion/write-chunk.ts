import type { BucketId, ShardId } from '../kernel/ids.ts';
import type { ChunkOutcome } from '../orders/batch-chunk.ts';
import type { OrderRow } from '../orders/batch-statements.ts';
import type { OrderBatchWriter } from '../orders/batch-writer.ts';
import { countOrders } from '../orders/order-telemetry.ts';
import type { Services } from '../services.ts';
import { routeBucket } from '../sharding/router.ts';
import type { Chunk } from './chunk-format.ts';
import { loadChunk, settleShard, storeChunk } from './chunks.ts';
import type { ChunkRef, ChunkResult } from './contracts.ts';
import type { Reject } from './model.ts';
import { chunkRejects, storeRejects } from './rejects.ts';

export interface ChunkWork {
  readonly ingestionId: string;
  readonly ref: ChunkRef;
  readonly deadlineMs: number;
}

/**
 * Writes one chunk where it was sent. Which rows go in and which are left for another shard is settled by the chunk's
 * record in the shard, so that every delivery gives the same figures and the same remainder.
 */
export async function writeOneChunk(
  services: Services,
  writer: OrderBatchWriter,
  work: ChunkWork,
): Promise<ChunkResult> {
  const { ingestionId, ref } = work;
  const chunk = await loadChunk(services.blobs, ref);
  await services.probe.reach('ingestion.beforeChunk');
  const key = { ingestionId, chunk: ref.chunk };
  const shard = ref.shard as ShardId;
  const outcome = await writer.writeChunk(shard, key, chunk, { deadlineMs: work.deadlineMs });
  countOrders(services.telemetry, 'batch', {
    created: outcome.inserted,
    replayed: outcome.duplicates,
    refused: outcome.conflicts + outcome.missing.length,
    unavailable: 0,
  });
  await services.probe.reach('ingestion.afterChunk');
  await keepRejects(services, work, chunk, outcome);
  const remainder = await keepRemainder(services, work, chunk, outcome);
  return {
    inserted: outcome.inserted,
    duplicates: outcome.duplicates,
    conflicts: outcome.conflicts,
    rejected: outcome.missing.length,
    ...(remainder !== undefined && { remainder }),
  };
}

async function keepRejects(
  services: Services,
  { ingestionId, ref }: ChunkWork,
  chunk: Chunk,
  outcome: ChunkOutcome,
): Promise<void> {
  if (outcome.missing.length === 0 && outcome.conflictRows.length === 0) return;
  const lines = new Map<OrderRow, number>(chunk.rows().map((row) => [row, row.line]));
  const reject = (row: OrderRow, code: string, message: string): Reject => ({
    line: lines.get(row) ?? 1,
    code,
    message,
  });
  await storeRejects(services.blobs, chunkRejects(ingestionId, ref.chunk), {
    rejects: outcome.missing.map((row) =>
      reject(row, 'user-not-found', `user ${row.userId} does not exist`),
    ),
    conflicting: outcome.conflictRows.map((row) =>
      reject(row, 'order-conflict', `order ${row.orderId} is there already with other content`),
    ),
  });
}

/**
 * The rows of buckets that have moved away become a chunk of their own, with the same content and the same shard at every
 * delivery. It is sent to where most of them are at the first; rows that belong elsewhere become its remainder in turn.
 */
async function keepRemainder(
  services: Services,
  { ref }: ChunkWork,
  chunk: Chunk,
  outcome: ChunkOutcome,
): Promise<ChunkResult['remainder']> {
  if (outcome.refused.size === 0) return undefined;
  const place = { prefix: ref.prefix, chunk: nextChunkName(ref.chunk) };
  const left = chunk.rows().filter((row) => outcome.refused.has(row.bucket));
  await storeChunk(services.blobs, place, left);
  const map = await services.bucketMap.refresh();
  const targets = new Map<number, number>();
  for (const row of left) {
    const target = targetOf(outcome, row.bucket) ?? routeBucket(map, row.bucket).shard;
    targets.set(target, (targets.get(target) ?? 0) + 1);
  }
  const [most] = [...targets].sort(([, a], [, b]) => b - a);
  const shard = await settleShard(services.blobs, place, most?.[0] ?? ref.shard);
  return { shard, chunk: place.chunk };
}

function targetOf(outcome: ChunkOutcome, bucket: BucketId): ShardId | null {
  return outcome.refused.get(bucket)?.movedTo ?? null;
}

/** `0/17` → `0/17-r1` → `0/17-r2` … */
export function nextChunkName(chunk: string): string {
  const match = /^(.*)-r(\d+)$/.exec(chunk);
  return match === null ? `${chunk}-r1` : `${match[1]}-r${Number(match[2]) + 1}`;
}
