import { z } from 'zod';
import { PermanentError } from '../kernel/errors.ts';
import type { BlobStore } from '../storage/contracts.ts';
import { decodeChunk, encodeChunk, type Chunk, type ChunkRow } from './chunk-format.ts';
import { CONTAINER } from './store.ts';

/** 10 000 rows of about 100 bytes, with room. */
const MAX_CHUNK_BYTES = 8 * 1024 * 1024;

/** Where a chunk is stored: below the folder of the try that cut it. */
export interface ChunkPlace {
  readonly prefix: string;
  readonly chunk: string;
}

/** Stores a chunk under `<prefix>/<chunk>.chunk`. Storing the same rows again changes nothing. */
export async function storeChunk(
  blobs: BlobStore,
  place: ChunkPlace,
  rows: readonly ChunkRow[],
): Promise<void> {
  await blobs.write(CONTAINER, chunkBlob(place), encodeChunk(rows));
}

/** The rows of a chunk. Throws `not-found` when it was removed, which happens after its ingestion has ended. */
export async function loadChunk(blobs: BlobStore, place: ChunkPlace): Promise<Chunk> {
  const text = await blobs.read(CONTAINER, chunkBlob(place), MAX_CHUNK_BYTES);
  if (text === undefined) throw gone();
  return decodeChunk(text);
}

const shardSchema = z.strictObject({ shard: z.int().nonnegative() });

/**
 * Settles which shard a chunk is sent to: `shard`, unless an earlier delivery sent it elsewhere. Only there a repetition
 * finds the chunk's record; on another shard it would find its own rows, which moved there, and count them as duplicates.
 */
export async function settleShard(
  blobs: BlobStore,
  place: ChunkPlace,
  shard: number,
): Promise<number> {
  const name = `${place.prefix}/${place.chunk}.shard.json`;
  if (await blobs.create(CONTAINER, name, JSON.stringify({ shard }))) return shard;
  const text = await blobs.read(CONTAINER, name);
  if (text === undefined) throw gone();
  return shardSchema.parse(JSON.parse(text)).shard;
}

function chunkBlob({ prefix, chunk }: ChunkPlace): string {
  return `${prefix}/${chunk}.chunk`;
}

function gone(): PermanentError {
  return new PermanentError('not-found', 'This part of the ingestion is not there any more.');
}
