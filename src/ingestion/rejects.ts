import { z } from 'zod';
import type { BlobStore } from '../storage/contracts.ts';
import { rejectSchema, type Reject } from './model.ts';
import { CONTAINER } from './store.ts';

/** Rejects per blob. */
const PER_BLOB = 5_000;
const MAX_BLOB_BYTES = 8 * 1024 * 1024;

/** How many are shown with an ingestion. */
export const SHOWN_REJECTS = 100;

/** Blobs of segments' rejects looked at: each holds up to 5 000. */
const MAX_SEGMENTS_READ = 50;

/** Blobs looked at for the first rejects; a batch that fills more has systematic faults that the first ones show. */
const MAX_BLOBS_READ = 50;

const documentSchema = z.strictObject({
  rejects: z.array(rejectSchema),
  conflicting: z.array(rejectSchema),
});
export type RejectDocument = z.infer<typeof documentSchema>;

/** Writes the rejects of one partitioning as numbered blobs below its prefix. */
export class RejectWriter {
  readonly #blobs: BlobStore;
  readonly #prefix: string;
  #held: Reject[] = [];
  #written = 0;
  #count = 0;

  constructor(blobs: BlobStore, prefix: string) {
    this.#blobs = blobs;
    this.#prefix = prefix;
  }

  get count(): number {
    return this.#count;
  }

  async add(reject: Reject): Promise<void> {
    this.#held.push(reject);
    this.#count++;
    if (this.#held.length >= PER_BLOB) await this.finish();
  }

  async finish(): Promise<void> {
    if (this.#held.length === 0) return;
    const name = `${this.#prefix}/rejects/${String(this.#written++).padStart(4, '0')}.json`;
    await storeRejects(this.#blobs, name, { rejects: this.#held, conflicting: [] });
    this.#held = [];
  }
}

export async function storeRejects(
  blobs: BlobStore,
  name: string,
  document: RejectDocument,
): Promise<void> {
  await blobs.write(CONTAINER, name, JSON.stringify(document));
}

/** Name of the blob for what was found while writing a chunk. */
export function chunkRejects(ingestionId: string, chunk: string): string {
  return `${ingestionId}/chunks/${chunk}.json`;
}

/**
 * The first rejects and conflicts by line, at most {@link SHOWN_REJECTS} of each: of the segments with these prefixes, in
 * their order, and of all chunks.
 */
export async function firstRejects(
  blobs: BlobStore,
  ingestionId: string,
  { partitioned }: { readonly partitioned: readonly string[] },
): Promise<RejectDocument> {
  const names: string[] = [];
  for (const prefix of partitioned.slice(0, MAX_SEGMENTS_READ)) {
    // The first blob of a segment holds its first 5 000 lines: more than are shown.
    names.push(...(await blobs.list(CONTAINER, `${prefix}/rejects/`, 1)));
  }
  names.push(...(await blobs.list(CONTAINER, `${ingestionId}/chunks/`, MAX_BLOBS_READ)));
  let found: RejectDocument = { rejects: [], conflicting: [] };
  for (const name of names) {
    const text = await blobs.read(CONTAINER, name, MAX_BLOB_BYTES);
    if (text === undefined) continue;
    const document = documentSchema.parse(JSON.parse(text));
    found = {
      rejects: first([...found.rejects, ...document.rejects]),
      conflicting: first([...found.conflicting, ...document.conflicting]),
    };
  }
  return found;
}

function first(rejects: readonly Reject[]): Reject[] {
  return rejects.toSorted((a, b) => a.line - b.line).slice(0, SHOWN_REJECTS);
}
