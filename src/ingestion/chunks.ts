import { z } from 'zod';
import { Background } from '../kernel/bounded.ts';
import { BugError, PermanentError } from '../kernel/errors.ts';
import { parseOrderId, parseUserId, type OrderId, type UserId } from '../kernel/ids.ts';
import { parseAmountCents, type AmountCents } from '../kernel/money.ts';
import { parseTimestamp, type Timestamp } from '../kernel/time.ts';
import { byPrimaryKey } from '../orders/batch-chunk.ts';
import type { OrderRow } from '../orders/batch-statements.ts';
import { bucketOf } from '../sharding/hash.ts';
import type { BlobStore } from '../storage/contracts.ts';
import { CONTAINER } from './store.ts';

/** An order on its way, with the line it came from. */
export interface ChunkRow extends OrderRow {
  readonly line: number;
}

/** A chunk as a blob: rows as arrays, sorted by primary key, all with a time of their own or all without. */
const chunkSchema = z.strictObject({
  createdAtGiven: z.boolean(),
  /** `[line, orderId, userId, amountCents, createdAt]` */
  rows: z.array(z.tuple([z.int(), z.string(), z.string(), z.int(), z.string()])),
});

/** 10 000 rows of about 100 bytes, with room. */
const MAX_CHUNK_BYTES = 8 * 1024 * 1024;

/** Stores a chunk under `<prefix>/<chunk>.json`. Storing the same rows again changes nothing. */
export async function storeChunk(
  blobs: BlobStore,
  where: { readonly prefix: string; readonly chunk: string },
  rows: readonly ChunkRow[],
): Promise<void> {
  const document: z.input<typeof chunkSchema> = {
    createdAtGiven: rows[0]?.createdAtGiven ?? false,
    rows: rows.map((row) => [row.line, row.orderId, row.userId, row.amountCents, row.createdAt]),
  };
  await blobs.write(CONTAINER, chunkBlob(where), JSON.stringify(document));
}

/** The rows of a chunk. Throws `not-found` when it was removed, which happens after its ingestion has ended. */
export async function loadChunk(
  blobs: BlobStore,
  where: { readonly prefix: string; readonly chunk: string },
): Promise<ChunkRow[]> {
  const text = await blobs.read(CONTAINER, chunkBlob(where), MAX_CHUNK_BYTES);
  if (text === undefined) {
    throw new PermanentError('not-found', 'This part of the ingestion is not there any more.');
  }
  const { createdAtGiven, rows } = chunkSchema.parse(JSON.parse(text));
  return rows.map(([line, orderId, userId, amountCents, createdAt]) => ({
    line,
    bucket: bucketOf(userId),
    orderId: intact(parseOrderId(orderId)) as OrderId,
    userId: intact(parseUserId(userId)) as UserId,
    amountCents: intact(parseAmountCents(amountCents)) as AmountCents,
    createdAt: intact(parseTimestamp(createdAt)) as Timestamp,
    createdAtGiven,
  }));
}

const shardSchema = z.strictObject({ shard: z.int().nonnegative() });

/**
 * Settles which shard a chunk is sent to: `shard`, unless an earlier delivery sent it elsewhere. Only there a repetition
 * finds the chunk's record; on another shard it would find its own rows, which moved there, and count them as duplicates.
 */
export async function settleShard(
  blobs: BlobStore,
  where: { readonly prefix: string; readonly chunk: string },
  shard: number,
): Promise<number> {
  const name = `${where.prefix}/${where.chunk}.shard.json`;
  if (await blobs.create(CONTAINER, name, JSON.stringify({ shard }))) return shard;
  const text = await blobs.read(CONTAINER, name);
  if (text === undefined) {
    throw new PermanentError('not-found', 'This part of the ingestion is not there any more.');
  }
  return shardSchema.parse(JSON.parse(text)).shard;
}

/** Where the chunks of one try end up, by shard. */
export interface ChunkSink {
  store(shard: number, index: number, rows: readonly ChunkRow[]): Promise<void>;
}

/** Chunks on their way to the store while the next ones fill. */
const STORES_AT_ONCE = 4;

/** Rows held back while their chunks fill: about 40 MB, however many shards there are. */
const MAX_HELD_ROWS = 200_000;

/**
 * Collects rows into chunks of `chunkRows` per shard (and per {@link OrderRow.createdAtGiven}, which one statement
 * cannot mix), and hands each over when it is full. What the sink throws, a later call throws.
 */
export class ChunkCollector {
  readonly #sink: ChunkSink;
  readonly #chunkRows: number;
  readonly #open = new Map<string, { readonly shard: number; rows: ChunkRow[] }>();
  readonly #chunks = new Map<number, number>();
  readonly #stores = new Background(STORES_AT_ONCE);
  #held = 0;

  constructor(sink: ChunkSink, chunkRows: number) {
    this.#sink = sink;
    this.#chunkRows = chunkRows;
  }

  async add(shard: number, row: ChunkRow): Promise<void> {
    const key = `${shard}/${row.createdAtGiven}`;
    const open = this.#open.get(key) ?? { shard, rows: [] };
    this.#open.set(key, open);
    open.rows.push(row);
    this.#held++;
    if (open.rows.length >= this.#chunkRows) await this.#flush(key);
    else if (this.#held >= MAX_HELD_ROWS) await this.#flush(this.#fullest());
  }

  /** Hands over what is left, waits until all is stored, and tells how many chunks each shard has, ascending by shard. */
  async finish(): Promise<{ shard: number; chunks: number }[]> {
    for (const key of this.#open.keys()) await this.#flush(key);
    await this.#stores.end();
    return [...this.#chunks]
      .map(([shard, chunks]) => ({ shard, chunks }))
      .sort((a, b) => a.shard - b.shard);
  }

  async #flush(key: string): Promise<void> {
    const open = this.#open.get(key);
    if (open === undefined) return;
    this.#open.delete(key);
    this.#held -= open.rows.length;
    const index = this.#chunks.get(open.shard) ?? 0;
    this.#chunks.set(open.shard, index + 1);
    const rows = open.rows.sort(byPrimaryKey);
    await this.#stores.begin(() => this.#sink.store(open.shard, index, rows));
  }

  #fullest(): string {
    const [fullest] = [...this.#open].sort(([, a], [, b]) => b.rows.length - a.rows.length);
    if (fullest === undefined) throw new BugError('rows are held but no chunk is open');
    return fullest[0];
  }
}

function chunkBlob(where: { readonly prefix: string; readonly chunk: string }): string {
  return `${where.prefix}/${where.chunk}.json`;
}

function intact<T>(value: T | undefined): T {
  if (value === undefined) throw new BugError('a stored chunk holds a value that was never valid');
  return value;
}
