import type { Shard, SqlRow } from '../database/contracts.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { BugError } from '../kernel/errors.ts';
import type { TableDigest } from './progress.ts';
import { digestRanges, selectChunkEnd } from './row-statements.ts';
import type { DigestPart } from './row-statements.ts';
import type { MoveSession } from './session.ts';
import { keyLiterals, keyParts } from './table-shapes.ts';
import type { TableShape } from './table-shapes.ts';

/** Rows of one digest: what is looked at row by row when a single one differs. */
export const CHUNK_ROWS = 1_000;
/** Chunks of one statement: a small bucket is one statement for all tables, a large one has bounded statements. */
const CHUNKS_PER_STATEMENT = 16;
/** Statements at once on each side: as many as a small server has cores. */
const LANES = 2;
/** Chunks of one table: 200 million rows of a single bucket; beyond that somebody should look first. */
const MAX_CHUNKS = 200_000;

/** Count and digest of the rows of a chunk on one side. */
export interface Digest {
  readonly rows: number;
  readonly words: readonly [bigint, bigint];
}

export interface ComparedChunk {
  readonly part: DigestPart;
  readonly source: Digest;
  readonly target: Digest;
}

/**
 * Cuts every table's part of the bucket into chunks of {@link CHUNK_ROWS} at the source. The chunks cover all keys: the
 * last of each table has no end, so that rows which come later belong to it.
 */
export async function cutIntoChunks(session: MoveSession): Promise<readonly DigestPart[]> {
  const cut = await mapBounded(session.shapes, LANES, (table) => cutTable(session, table));
  return cut.flat();
}

async function cutTable(session: MoveSession, table: TableShape): Promise<DigestPart[]> {
  const parts: DigestPart[] = [];
  let after: string[] | null = null;
  for (let chunk = 0; chunk < MAX_CHUNKS; chunk++) {
    const from: string[] | null = after;
    const text = selectChunkEnd(table, session.move.bucket, from, CHUNK_ROWS);
    const [end] = await session.onSource((shard) => shard.query(text, []));
    const upTo: string[] | null =
      end === undefined ? null : keyLiterals(table, keyParts(table, end));
    parts.push({ table, after: from, upTo });
    if (upTo === null) return parts;
    after = upTo;
  }
  throw new BugError('a bucket has more rows than one move can verify', {
    details: { table: table.name, maxRows: MAX_CHUNKS * CHUNK_ROWS },
  });
}

/** Digests of the chunks on both sides, asked at once. */
export async function compareChunks(
  session: MoveSession,
  parts: readonly DigestPart[],
): Promise<readonly ComparedChunk[]> {
  const groups: DigestPart[][] = [];
  for (let at = 0; at < parts.length; at += CHUNKS_PER_STATEMENT) {
    groups.push(parts.slice(at, at + CHUNKS_PER_STATEMENT));
  }
  const compared = await mapBounded(groups, LANES, async (group) => {
    const text = digestRanges(session.move.bucket, group);
    const read = (shard: Shard): Promise<readonly SqlRow[]> => shard.query(text, []);
    const [source, target] = await Promise.all([session.onSource(read), session.onTarget(read)]);
    const sources = digestsOf(source);
    const targets = digestsOf(target);
    return group.map((part, index) => ({
      part,
      source: sources.get(index) ?? EMPTY,
      target: targets.get(index) ?? EMPTY,
    }));
  });
  return compared.flat();
}

const EMPTY: Digest = { rows: 0, words: [0n, 0n] };

function digestsOf(rows: readonly SqlRow[]): ReadonlyMap<number, Digest> {
  return new Map(
    rows.map((row) => [
      Number(row['part']),
      { rows: Number(row['n']), words: [BigInt(String(row['x1'])), BigInt(String(row['x2']))] },
    ]),
  );
}

export function isEqual({ source, target }: ComparedChunk): boolean {
  return (
    source.rows === target.rows &&
    source.words[0] === target.words[0] &&
    source.words[1] === target.words[1]
  );
}

/** The source's digests, put together per table; pure. */
export function tableDigests(chunks: readonly ComparedChunk[]): readonly TableDigest[] {
  const tables = new Map<string, Digest>();
  for (const { part, source } of chunks) {
    const { rows, words } = tables.get(part.table.name) ?? EMPTY;
    tables.set(part.table.name, {
      rows: rows + source.rows,
      words: [words[0] ^ source.words[0], words[1] ^ source.words[1]],
    });
  }
  return [...tables].map(([table, { rows, words }]) => ({
    table,
    rows,
    digest: words.map((word) => word.toString(16).padStart(16, '0')).join(''),
  }));
}
