import { BlobServiceClient } from '@azure/storage-blob';
import { parseBucketMap } from '../../src/sharding/bucket-map.ts';
import { SHARDED_TABLES } from '../../src/sharding/sharded-tables.ts';
import type { TestApp } from './app.ts';

/**
 * Moves a small bucket the simple way, as an operator with SQL could: fence, copy, switch, map. For tests of what
 * writers and readers see; the product's own mover copies while writes go on.
 */
export async function moveBucket(
  app: TestApp,
  move: { readonly bucket: number; readonly from: number; readonly to: number },
): Promise<void> {
  const { bucket, from, to } = move;
  await app.sql(from, "UPDATE bucket_ownership SET state = 'fenced' WHERE bucket = ?", [bucket]);
  for (const table of SHARDED_TABLES) {
    const columns = table.columns.join(', ');
    const rows = await app.sql(from, `SELECT ${columns} FROM ${table.name} WHERE bucket = ?`, [
      bucket,
    ]);
    for (const row of rows) {
      const places = table.columns.map(() => '?').join(', ');
      const values = table.columns.map((column) => row[column]);
      await app.sql(to, `INSERT INTO ${table.name} (${columns}) VALUES (${places})`, values);
    }
  }
  await app.sql(
    to,
    "INSERT INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES (?, 'owned', 2, NULL, UTC_TIMESTAMP(3))",
    [bucket],
  );
  await app.sql(
    from,
    "UPDATE bucket_ownership SET state = 'gone', moved_to = ? WHERE bucket = ? AND state = 'fenced'",
    [to, bucket],
  );
  await publishMap(app, bucket, to);
}

async function publishMap(app: TestApp, bucket: number, to: number): Promise<void> {
  const service = BlobServiceClient.fromConnectionString(app.databases.storageConnectionString);
  const blob = service.getContainerClient('control').getBlockBlobClient('bucket-map.json');
  const current = await blob.getProperties();
  const map = parseBucketMap((await blob.downloadToBuffer()).toString('utf8'));
  const next = {
    ...map,
    version: map.version + 1,
    assignment: map.assignment.with(bucket, to),
    epochs: map.epochs.with(bucket, 2),
  };
  const text = JSON.stringify(next);
  await blob.upload(text, Buffer.byteLength(text), {
    conditions: current.etag === undefined ? {} : { ifMatch: current.etag },
  });
}
