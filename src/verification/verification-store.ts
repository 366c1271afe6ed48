import { z } from 'zod';
import { BugError } from '../kernel/errors.ts';
import type { BlobStore } from '../storage/contracts.ts';
import { cursorSchema } from './contracts.ts';
import {
  bucketSumSchema,
  CHECK_NAMES,
  chunkSchema,
  tallySchema,
  verificationSchema,
} from './model.ts';
import type { Chunk } from './model.ts';
import { suspectSchema, type Suspect } from './suspects.ts';

/**
 * The blobs of verifications, container `verifications`. Each is written once, the first one stays, but for the hint:
 *
 * - `next.json`, `<id>/next.json`     the run after none, after `<id>`: whoever writes it has started that run, so there
 *                                     is never more than one way on, and one run at a time
 * - `latest.json`                     a late run, to begin the search for the last one at; a hint
 * - `<id>/request.json`               what was asked
 * - `<id>/plan.json`                  the chunks, and what was found about owners
 * - `<id>/parts/<piece>.json`         what a piece found
 * - `<id>/suspects-<look>/<name>.json` what is to be looked at again
 * - `<id>/looks/<name>.json`          what the last look found
 * - `<id>/result.json`                the result, or why there is none
 */
const CONTAINER = 'verifications';

const linkSchema = z.strictObject({ verificationId: z.string() });

const requestSchema = z.strictObject({
  checks: z.array(z.enum(CHECK_NAMES)),
  /** Null: all. */
  shards: z.array(z.int()).nullable(),
  startedAt: z.string(),
});
export type StoredRequest = z.infer<typeof requestSchema>;

const planSchema = z.strictObject({
  chunks: z.array(chunkSchema),
  suspects: z.int(),
  tally: tallySchema,
});
export type StoredPlan = z.infer<typeof planSchema>;

const partSchema = z.strictObject({
  chunk: chunkSchema,
  next: cursorSchema.nullable(),
  rows: z.int(),
  suspects: z.int(),
  tally: tallySchema,
  /** Buckets with their epoch that the shard owned from the piece's beginning to its end. */
  owned: z.array(z.tuple([z.int(), z.int()])),
  sums: z.array(bucketSumSchema),
});
export type Part = z.infer<typeof partSchema>;

const suspectsSchema = z.array(suspectSchema);

/** A full plan of 256 shards; a piece's suspects and examples are far below. */
const MAX_DOCUMENT_BYTES = 8 * 1024 * 1024;
/** Pieces of a run: ten thousand million rows at 100 000 each. */
export const MAX_PARTS = 100_000;

export interface VerificationStore {
  /** The run after `previous` (null: the first), or undefined. */
  readNext(previous: string | null): Promise<string | undefined>;
  /** Makes `verificationId` the run after `previous`; false when there is one already. */
  claimNext(previous: string | null, verificationId: string): Promise<boolean>;
  readHint(): Promise<string | undefined>;
  writeHint(verificationId: string): Promise<void>;
  readRequest(id: string): Promise<StoredRequest | undefined>;
  createRequest(id: string, request: StoredRequest): Promise<void>;
  readPlan(id: string): Promise<StoredPlan | undefined>;
  settlePlan(id: string, plan: StoredPlan): Promise<StoredPlan>;
  readPart(id: string, name: string): Promise<Part | undefined>;
  settlePart(id: string, name: string, part: Part): Promise<Part>;
  listParts(id: string): Promise<readonly string[]>;
  writeSuspects(
    id: string,
    look: number,
    name: string,
    suspects: readonly Suspect[],
  ): Promise<void>;
  listSuspects(id: string, look: number, limit: number): Promise<readonly string[]>;
  readSuspects(id: string, look: number, name: string): Promise<readonly Suspect[]>;
  removeSuspects(id: string, look: number, name: string): Promise<void>;
  writeLook(id: string, name: string, tally: Tally): Promise<void>;
  readLooks(id: string): Promise<readonly Tally[]>;
  removeParts(id: string): Promise<void>;
  readResult(id: string): Promise<Verification | undefined>;
  settleResult(id: string, result: Verification): Promise<Verification>;
}

type Tally = z.infer<typeof tallySchema>;
type Verification = z.infer<typeof verificationSchema>;

/** Name of a piece's blob. */
export function partName(chunk: Chunk, piece: number): string {
  return `${chunk.round}-${chunk.shard}-${chunk.from}-${chunk.to}-${piece}`;
}

export function createVerificationStore(blobs: BlobStore): VerificationStore {
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
  const write = (name: string, value: unknown): Promise<void> =>
    blobs.write(CONTAINER, name, JSON.stringify(value));
  const list = async (prefix: string, limit: number): Promise<readonly string[]> => {
    const names = await blobs.list(CONTAINER, prefix, limit);
    return names.map((name) => name.slice(prefix.length, -'.json'.length));
  };
  const linkName = (previous: string | null): string =>
    previous === null ? 'next.json' : `${previous}/next.json`;
  return {
    readNext: async (previous) => (await read(linkName(previous), linkSchema))?.verificationId,
    claimNext: (previous, verificationId) =>
      blobs.create(CONTAINER, linkName(previous), JSON.stringify({ verificationId })),
    readHint: async () => (await read('latest.json', linkSchema))?.verificationId,
    writeHint: (verificationId) => write('latest.json', { verificationId }),
    readRequest: (id) => read(`${id}/request.json`, requestSchema),
    createRequest: (id, request) => write(`${id}/request.json`, request),
    readPlan: (id) => read(`${id}/plan.json`, planSchema),
    settlePlan: (id, plan) => settle(`${id}/plan.json`, planSchema, plan),
    readPart: (id, name) => read(`${id}/parts/${name}.json`, partSchema),
    settlePart: (id, name, part) => settle(`${id}/parts/${name}.json`, partSchema, part),
    listParts: (id) => list(`${id}/parts/`, MAX_PARTS),
    writeSuspects: (id, look, name, suspects) =>
      write(`${id}/suspects-${look}/${name}.json`, suspects),
    listSuspects: (id, look, limit) => list(`${id}/suspects-${look}/`, limit),
    readSuspects: async (id, look, name) =>
      (await read(`${id}/suspects-${look}/${name}.json`, suspectsSchema)) ?? [],
    removeSuspects: (id, look, name) =>
      blobs.delete(CONTAINER, `${id}/suspects-${look}/${name}.json`),
    writeLook: (id, name, tally) => write(`${id}/looks/${name}.json`, tally),
    readLooks: async (id) => {
      const tallies: Tally[] = [];
      for (const name of await list(`${id}/looks/`, MAX_PARTS)) {
        const tally = await read(`${id}/looks/${name}.json`, tallySchema);
        if (tally !== undefined) tallies.push(tally);
      }
      return tallies;
    },
    removeParts: async (id) => {
      for (const folder of ['parts', 'looks', 'suspects-1', 'suspects-2']) {
        for (const name of await blobs.list(CONTAINER, `${id}/${folder}/`, MAX_PARTS)) {
          await blobs.delete(CONTAINER, name);
        }
      }
    },
    readResult: (id) => read(`${id}/result.json`, verificationSchema),
    settleResult: (id, result) => settle(`${id}/result.json`, verificationSchema, result),
  };
}
