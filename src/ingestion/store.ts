import type { z } from 'zod';
import { BugError } from '../kernel/errors.ts';
import type { BlobStore } from '../storage/contracts.ts';
import {
  manifestSchema,
  resultSchema,
  segmentSchema,
  type IngestionResult,
  type Manifest,
  type Segment,
} from './model.ts';

/**
 * The blobs of an ingestion, all below `<ingestionId>/` of the container `ingestions`:
 *
 * - `input-<unique>.ndjson`  the orders as they came; one per try to hand them in, of which one is named by
 * - `manifest.json`          what was accepted, written once; from here on the ingestion exists
 * - `segments/<n>.json`      how a part of the orders was cut into chunks, written once; the first try to end wins
 * - `<attempt>/…`            chunks and rejects of one try to partition
 * - `chunks/<chunk>.json`    rejects found while writing a chunk
 * - `result.json`            the sum, written once the last chunk is done
 */
export const CONTAINER = 'ingestions';

/** Names and typed contents of an ingestion's blobs. */
export interface IngestionStore {
  inputName(ingestionId: string, unique: string): string;
  readManifest(ingestionId: string): Promise<Manifest | undefined>;
  /** False when the ingestion exists already. */
  createManifest(manifest: Manifest): Promise<boolean>;
  readSegment(ingestionId: string, index: number): Promise<Segment | undefined>;
  /** Stores how a segment was cut unless that is settled, and gives what is there. */
  settleSegment(ingestionId: string, index: number, segment: Segment): Promise<Segment>;
  readResult(ingestionId: string): Promise<IngestionResult | undefined>;
  /** Stores the result unless there is one, and gives the one that is there. */
  settleResult(result: IngestionResult): Promise<IngestionResult>;
}

/** Segments and results are bounded by the number of shards and of rejects shown. */
const MAX_DOCUMENT_BYTES = 1024 * 1024;

export function createIngestionStore(blobs: BlobStore): IngestionStore {
  const read = async <T>(name: string, schema: z.ZodType<T>): Promise<T | undefined> => {
    const text = await blobs.read(CONTAINER, name, MAX_DOCUMENT_BYTES);
    return text === undefined ? undefined : schema.parse(JSON.parse(text));
  };
  const settle = async <T>(name: string, schema: z.ZodType<T>, value: T): Promise<T> => {
    if (await blobs.create(CONTAINER, name, JSON.stringify(value))) return value;
    const first = await read(name, schema);
    if (first === undefined) throw new BugError(`blob ${name} was there and is not`);
    return first;
  };
  return {
    inputName: (id, unique) => `${id}/input-${unique}.ndjson`,
    readManifest: (id) => read(`${id}/manifest.json`, manifestSchema),
    createManifest: (manifest) =>
      blobs.create(CONTAINER, `${manifest.ingestionId}/manifest.json`, JSON.stringify(manifest)),
    readSegment: (id, index) => read(segmentName(id, index), segmentSchema),
    settleSegment: (id, index, segment) => settle(segmentName(id, index), segmentSchema, segment),
    readResult: (id) => read(`${id}/result.json`, resultSchema),
    settleResult: (result) => settle(`${result.ingestionId}/result.json`, resultSchema, result),
  };
}

function segmentName(ingestionId: string, index: number): string {
  return `${ingestionId}/segments/${index}.json`;
}
