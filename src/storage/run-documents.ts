import type { z } from 'zod';
import { BugError, RetryableError } from '../kernel/errors.ts';
import type { VersionedBlobs } from './versioned-blobs.ts';

/** What the stores of runs (rebalances, maintenance) share: JSON documents that are changed by compare-and-set. */

export interface Versioned<T> {
  readonly value: T;
  readonly etag: string;
}

/** Others change a document for milliseconds; more rounds mean that something is wrong. */
const ROUNDS = 20;

/** Reads a document of the container; undefined when there is none. */
export async function readDocument<T>(
  blobs: Pick<VersionedBlobs, 'read'>,
  name: string,
  schema: z.ZodType<T>,
): Promise<Versioned<T> | undefined> {
  const stored = await blobs.read(name);
  if (stored === undefined) return undefined;
  if (stored === 'unchanged') throw new BugError('a read without a condition was conditional');
  return { value: schema.parse(JSON.parse(stored.text)), etag: stored.etag };
}

/**
 * Reads a document, has it changed and writes it, again when somebody else was faster. `change` gives the new value, or
 * undefined to leave what is there; gives what is there then. Throws `conflict` (retryable) when others are always faster.
 */
export async function changeDocument<T>(
  blobs: VersionedBlobs,
  name: string,
  schema: z.ZodType<T>,
  change: (found: T | undefined) => T | undefined,
): Promise<T | undefined> {
  for (let round = 1; round <= ROUNDS; round += 1) {
    const found = await readDocument(blobs, name, schema);
    const next = change(found?.value);
    if (next === undefined) return found?.value;
    if ((await blobs.swap(name, JSON.stringify(next), found?.etag)) !== undefined) return next;
  }
  throw new RetryableError('conflict', 'Others change this document all the time.');
}

/** Which run has the cluster: a document that names the run accepted last. */
export interface CurrentRun {
  /** With the version to replace; undefined when there never was one. */
  read(): Promise<Versioned<string> | undefined>;
  /** Makes `id` the current run after the version `etag` (undefined: the first). False when somebody was faster. */
  claim(id: string, etag: string | undefined): Promise<boolean>;
}

/** `schema` is of an object with the id under `field`. */
export function createCurrentRun<Field extends string>(
  blobs: VersionedBlobs,
  document: {
    readonly name: string;
    readonly field: Field;
    readonly schema: z.ZodType<Record<Field, string>>;
  },
): CurrentRun {
  const { name, field, schema } = document;
  return {
    read: async () => {
      const found = await readDocument(blobs, name, schema);
      return found && { value: found.value[field], etag: found.etag };
    },
    claim: async (id, etag) =>
      (await blobs.swap(name, JSON.stringify({ [field]: id }), etag)) !== undefined,
  };
}

/** The state of a run that is decided in rounds; each round is decided once. */
export interface RoundStore<State> {
  read(): Promise<Versioned<State>>;
  /** False when the state is another by now. */
  replace(state: State, etag: string): Promise<boolean>;
}

/** Only another delivery of the same round writes the state at the same time. */
const DELIVERIES = 10;

/**
 * Decides a round of a run and stores it. Idempotent: a round that was decided is answered as it was. `wanted` null:
 * whichever is next, for an orchestration that was started again. Throws `conflict` (retryable).
 */
export async function decideOnce<State extends { readonly round: number }>(
  store: RoundStore<State>,
  wanted: number | null,
  decide: (state: State, round: number) => Promise<State>,
): Promise<{ readonly before: State; readonly state: State; readonly round: number }> {
  for (let tries = 1; tries <= DELIVERIES; tries += 1) {
    const { value: before, etag } = await store.read();
    const round = wanted ?? before.round + 1;
    if (before.round >= round) return { before, state: before, round };
    const state = await decide(before, round);
    if (await store.replace(state, etag)) return { before, state, round };
  }
  throw new RetryableError('conflict', 'Others write the state of this run all the time.');
}
