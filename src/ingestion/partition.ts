import { PermanentError } from '../kernel/errors.ts';
import { parseTimestamp, type Timestamp } from '../kernel/time.ts';
import { toOrderRow } from '../orders/batch-writer.ts';
import type { Services } from '../services.ts';
import { createOrderIdDeriver } from '../sharding/derived-ids.ts';
import { routeBucket } from '../sharding/router.ts';
import { ChunkCollector, storeChunk } from './chunks.ts';
import { readLines } from './lines.ts';
import type { Manifest, Plan } from './model.ts';
import { parseOrderLine } from './parse-order.ts';
import { RejectWriter } from './rejects.ts';
import { CONTAINER } from './store.ts';

type PartitionServices = Pick<Services, 'blobs' | 'bucketMap' | 'config'>;

/**
 * Reads the orders of an ingestion once and cuts them into chunk blobs per shard below `prefix`, which must be fresh:
 * two tries at once then never write the same blob. Whose chunks count is settled by `store.settlePlan`. Orders without
 * an id get one from the ingestion and their position, so that each try gives the same ids.
 */
export async function partition(
  services: PartitionServices,
  manifest: Manifest,
  prefix: string,
): Promise<Plan> {
  const { blobs, config } = services;
  const source = await blobs.open(CONTAINER, manifest.input);
  if (source === undefined) {
    throw new PermanentError('not-found', 'The orders of this ingestion are not there any more.');
  }
  const map = await services.bucketMap.current();
  const idOf = createOrderIdDeriver({ kind: 'batch', source: manifest.ingestionId });
  const createdAt = parseTimestamp(manifest.createdAt) as Timestamp;
  const rejects = new RejectWriter(blobs, prefix);
  const chunks = new ChunkCollector(
    {
      store: (shard, index, rows) =>
        storeChunk(blobs, { prefix, chunk: `${shard}/${index}` }, rows),
    },
    config.INGEST_CHUNK_ROWS,
  );
  let received = 0;
  for await (const line of readLines(source)) {
    const ordinal = received++;
    const parsed = parseOrderLine(line.text);
    if (parsed.kind === 'reject') {
      await rejects.add({ line: line.number, code: 'validation-failed', message: parsed.message });
      continue;
    }
    const row = toOrderRow(parsed.order, { orderId: idOf(ordinal), createdAt });
    await chunks.add(routeBucket(map, row.bucket).shard, { ...row, line: line.number });
  }
  const shards = await chunks.finish();
  await rejects.finish();
  const rejected = rejects.count;
  return { prefix, received, rejected, rows: received - rejected, shards };
}
