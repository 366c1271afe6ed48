import { Background } from '../kernel/bounded.ts';
import { BugError } from '../kernel/errors.ts';
import type { ChunkRow } from './chunk-format.ts';

/** Where the chunks of one try end up, by shard. */
export interface ChunkSink {
  store(shard: number, index: number, rows: readonly ChunkRow[]): Promise<void>;
}

/** Chunks on their way to the store while the next ones fill. */
const STORES_AT_ONCE = 4;

/** Rows held back while their chunks fill: about 40 MB, however many shards there are. */
const MAX_HELD_ROWS = 200_000;

/**
 * Collects rows into chunks of `chunkRows` per shard (and per `createdAtGiven`, which one statement cannot mix), and
 * hands each over when it is full. What the sink throws, a later call throws.
 */
export class ChunkCollector {
  readonly #sink: ChunkSink;
  readonly #chunkRows: number;
  readonly #open = new Map<number, { readonly shard: number; rows: ChunkRow[] }>();
  readonly #chunks = new Map<number, number>();
  readonly #stores = new Background(STORES_AT_ONCE);
  #held = 0;

  constructor(sink: ChunkSink, chunkRows: number) {
    this.#sink = sink;
    this.#chunkRows = chunkRows;
  }

  /** Takes a row. Wait for what it returns, if anything, before the next: then a chunk was full, and the store is slow. */
  add(shard: number, row: ChunkRow): Promise<void> | undefined {
    const key = 2 * shard + (row.createdAtGiven ? 1 : 0);
    let open = this.#open.get(key);
    if (open === undefined) {
      open = { shard, rows: [] };
      this.#open.set(key, open);
    }
    open.rows.push(row);
    this.#held++;
    if (open.rows.length >= this.#chunkRows) return this.#flush(key);
    if (this.#held >= MAX_HELD_ROWS) return this.#flush(this.#fullest());
    return undefined;
  }

  /** Hands over what is left, waits until all is stored, and tells how many chunks each shard has, ascending by shard. */
  async finish(): Promise<{ shard: number; chunks: number }[]> {
    for (const key of this.#open.keys()) await this.#flush(key);
    await this.#stores.end();
    return [...this.#chunks]
      .map(([shard, chunks]) => ({ shard, chunks }))
      .sort((a, b) => a.shard - b.shard);
  }

  async #flush(key: number): Promise<void> {
    const open = this.#open.get(key);
    if (open === undefined) return;
    this.#open.delete(key);
    this.#held -= open.rows.length;
    const index = this.#chunks.get(open.shard) ?? 0;
    this.#chunks.set(open.shard, index + 1);
    await this.#stores.begin(() => this.#sink.store(open.shard, index, open.rows));
  }

  #fullest(): number {
    const [fullest] = [...this.#open].sort(([, a], [, b]) => b.rows.length - a.rows.length);
    if (fullest === undefined) throw new BugError('rows are held but no chunk is open');
    return fullest[0];
  }
}
