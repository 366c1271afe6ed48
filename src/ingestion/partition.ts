import { PermanentError } from '../kernel/errors.ts';
import { parseTimestamp, type Timestamp } from '../kernel/time.ts';
import { toOrderRow } from '../orders/batch-writer.ts';
import type { Services } from '../services.ts';
import type { BucketMap } from '../sharding/bucket-map.ts';
import { createOrderIdDeriver } from '../sharding/derived-ids.ts';
import { routeBucket } from '../sharding/router.ts';
import { ChunkCollector } from './chunk-collector.ts';
import { storeChunk } from './chunks.ts';
import { LineSplitter, readLines, type Line } from './lines.ts';
import type { Manifest, Position, Segment } from './model.ts';
import { parseOrderLine } from './parse-order.ts';
import { RejectWriter } from './rejects.ts';
import { CONTAINER } from './store.ts';

type PartitionServices = Pick<Services, 'blobs' | 'bucketMap' | 'config'>;

/** A segment of the input: where it begins, and where its chunks go. */
export interface SegmentWork {
  readonly index: number;
  readonly from: Position;
  /** A fresh folder: two tries at once then never write the same blob. Whose chunks count is settled by the store. */
  readonly prefix: string;
}

/** Shards of which each still has some full chunks of a segment: 50 000 orders are three of 2 000 for each of eight. */
const SHARDS_PER_SEGMENT = 8;
const FIRST_SEGMENT_PARTS = 4;

/**
 * Reads a segment of an ingestion's orders once and cuts it into chunk blobs per shard. Orders without an id get one
 * from the ingestion and their position, so that each try gives the same ids.
 */
export async function partition(
  services: PartitionServices,
  manifest: Manifest,
  work: SegmentWork,
): Promise<Segment> {
  const { blobs, config } = services;
  const { index, from, prefix } = work;
  const map = await services.bucketMap.current();
  const bytes = segmentBytes(config.INGEST_SEGMENT_BYTES, index, map);
  const source = await blobs.open(CONTAINER, manifest.input, { from: from.byte, bytes });
  if (source === undefined) {
    throw new PermanentError('not-found', 'The orders of this ingestion are not there any more.');
  }
  const idOf = createOrderIdDeriver({ kind: 'batch', source: manifest.ingestionId });
  const createdAt = parseTimestamp(manifest.createdAt) as Timestamp;
  const rejects = new RejectWriter(blobs, prefix);
  const chunks = new ChunkCollector(
    {
      store: (shard, chunk, rows) =>
        storeChunk(blobs, { prefix, chunk: `${index}/${shard}/${chunk}` }, rows),
    },
    config.INGEST_CHUNK_ROWS,
  );
  let ordinal = from.ordinal;
  const take = async (lines: readonly Line[]): Promise<void> => {
    for (const { number: line, text } of lines) {
      const parsed = parseOrderLine(text);
      if (parsed.kind === 'reject') {
        ordinal++;
        await rejects.add({ line, code: 'validation-failed', message: parsed.message });
        continue;
      }
      const row = toOrderRow(parsed.order, { orderId: idOf(ordinal++), createdAt });
      const full = chunks.add(routeBucket(map, row.bucket).shard, { ...row, line });
      if (full !== undefined) await full;
    }
  };
  const splitter = new LineSplitter(from);
  for await (const lines of readLines(source, splitter)) await take(lines);
  const isLast = from.byte + bytes >= manifest.bytes;
  if (isLast) await take(splitter.end());
  const shards = await chunks.finish();
  await rejects.finish();
  const received = ordinal - from.ordinal;
  return {
    prefix,
    received,
    rejected: rejects.count,
    rows: received - rejects.count,
    shards,
    next: isLast ? null : { ...splitter.position, ordinal },
  };
}

/** More shards share a larger segment, so that none gets but crumbs of it. The servers have nothing to do until the first is cut. */
function segmentBytes(usual: number, index: number, map: BucketMap): number {
  const bytes = usual * Math.ceil(new Set(map.assignment).size / SHARDS_PER_SEGMENT);
  return index === 0 ? bytes / FIRST_SEGMENT_PARTS : bytes;
}
