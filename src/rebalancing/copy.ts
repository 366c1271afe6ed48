import type { SqlRow } from '../database/contracts.ts';
import { BugError } from '../kernel/errors.ts';
import type { Move } from './model.ts';
import { insertHead, insertTail, ROW_TEXT, selectRows } from './row-statements.ts';
import { openSession, progressStatement } from './session.ts';
import type { MoveServices, MoveSession } from './session.ts';
import { keyLiterals, keyParts } from './table-shapes.ts';
import type { TableShape } from './table-shapes.ts';
import type { KeyPart, MoveProgress } from './progress.ts';

/** The knee of copying is at 1000 rows, the best at 5000 (FACTS-mysql 5). */
export const MAX_CHUNK_ROWS = 5_000;
/** A table begins with this many, until its rows are known. */
const FIRST_CHUNK_ROWS = 500;
/** What a chunk may need in memory if all its rows are as large as they can be. */
const MAX_CHUNK_BYTES = 64 * 1024 * 1024;
/** Characters of one packet: at 4 bytes each well under the 8 MiB that a shard takes; locks are held for one packet. */
const MAX_PACKET_TEXT = 1024 * 1024;
/** A chunk that takes longer than this holds its locks too long: the next ones are smaller. */
const SLOW_CHUNK_MS = 1_000;

export interface CopyOptions {
  /** No chunk is begun after this time; the call ends with `more`. Milliseconds. */
  readonly sliceMs: number;
  /** Largest chunk; {@link MAX_CHUNK_ROWS} when not given. */
  readonly chunkRows?: number;
  /** Waited for before each packet of rows: sleeps while a shard is under load. */
  readonly throttle?: () => Promise<void>;
  readonly onProgress?: (progress: MoveProgress) => void;
}

export interface CopyOutcome {
  /** `more`: call again; it goes on behind the last chunk. */
  readonly kind: 'copied' | 'more';
  readonly rows: number;
  readonly progress: MoveProgress;
}

/**
 * Copies the bucket's rows in key order while writes go on at the source; what they change afterwards is found by the
 * passes. The cursor is kept in the transaction of the rows before it, so that a crash repeats at most one chunk, and a
 * repeated chunk changes nothing. Throws `conflict` (retryable) when another delivery has claimed the move.
 */
export async function copyBucket(
  services: MoveServices,
  move: Move,
  options: CopyOptions,
): Promise<CopyOutcome> {
  const session = await openSession(services, move);
  const { phase, progress } = session.record;
  if (phase !== 'copying') return { kind: 'copied', rows: 0, progress };
  const copy: Copy = {
    session,
    options,
    endsAtMs: services.clock.monotonicMs() + options.sliceMs,
    progress,
    rows: 0,
  };
  const begun = session.shapes.findIndex((table) => table.name === progress.cursor?.table);
  for (const [index, table] of session.shapes.slice(Math.max(0, begun)).entries()) {
    const after = begun >= 0 && index === 0 ? (progress.cursor?.key ?? null) : null;
    if (!(await copyTable(copy, table, after))) return outcome(copy, 'more');
  }
  await session.write((shard) => [
    progressStatement(session, shard, { phase: 'checking', progress: copy.progress }),
  ]);
  services.logger.log('info', 'rebalancing.bucket_copied', {
    moveId: move.id,
    bucketId: move.bucket,
    rows: copy.rows,
  });
  return outcome(copy, 'copied');
}

interface Copy {
  readonly session: MoveSession;
  readonly options: CopyOptions;
  readonly endsAtMs: number;
  progress: MoveProgress;
  rows: number;
}

function outcome(copy: Copy, kind: CopyOutcome['kind']): CopyOutcome {
  return { kind, rows: copy.rows, progress: copy.progress };
}

/** Rows that were asked for ahead, and how many. */
interface Fetch {
  readonly limit: number;
  readonly rows: Promise<readonly SqlRow[]>;
}

/**
 * False when the time was up before its end. While the target runs one packet, the next rows are read and their packet is
 * put together, so that the target, which has the most to do, hardly waits. Under way are at most the rows of two chunks,
 * one packet at the target, and one that is ready. Nothing is under way any more when it returns or throws.
 */
async function copyTable(
  copy: Copy,
  table: TableShape,
  start: readonly KeyPart[] | null,
): Promise<boolean> {
  const { session, options } = copy;
  const most = mostRows(table, options.chunkRows ?? MAX_CHUNK_ROWS);
  let limit = Math.min(FIRST_CHUNK_ROWS, most);
  let next = fetchRows(session, table, start, limit);
  let writing: Promise<number> = Promise.resolve(0);
  try {
    for (;;) {
      const fetched = next;
      const rows = await fetched.rows;
      const last = rows.at(-1);
      const atEnd = last === undefined || rows.length < fetched.limit;
      let text = 0;
      let isFirst = true;
      // A piece is put together before the one before it has been written.
      for (const piece of inPieces(table, rows)) {
        text += piece.text.length;
        const tookMs = await writing;
        if (isFirst) limit = nextLimit(limit, most, tookMs);
        if (session.services.clock.monotonicMs() >= copy.endsAtMs && copy.rows > 0) return false;
        await options.throttle?.();
        await session.services.probe.reach('rebalancing.beforeChunk', session.move.id);
        writing = writePiece(copy, table, piece);
        // Heard when it is awaited.
        writing.catch(() => undefined);
        if (isFirst && !atEnd) next = fetchRows(session, table, keyParts(table, last), limit);
        isFirst = false;
      }
      limit = fitting(limit, rows.length, text);
      if (!atEnd) continue;
      await writing;
      return true;
    }
  } finally {
    await Promise.allSettled([writing, next.rows]);
  }
}

/** Rows per chunk, so that even the largest rows fit into memory. */
export function mostRows(table: Pick<TableShape, 'maxRowBytes'>, chunkRows: number): number {
  return Math.max(1, Math.min(chunkRows, Math.floor(MAX_CHUNK_BYTES / table.maxRowBytes)));
}

/** Doubles while chunks are quick, halves when one was slow; pure. */
export function nextLimit(limit: number, most: number, tookMs: number): number {
  if (tookMs > SLOW_CHUNK_MS) return Math.max(1, Math.floor(limit / 2));
  return tookMs < SLOW_CHUNK_MS / 2 ? Math.min(most, limit * 2) : limit;
}

/** No more rows than make one packet, by the mean of the rows before; pure. */
export function fitting(limit: number, rows: number, text: number): number {
  if (rows === 0) return limit;
  return Math.max(1, Math.min(limit, Math.floor((rows * MAX_PACKET_TEXT) / text)));
}

function fetchRows(
  session: MoveSession,
  table: TableShape,
  after: readonly KeyPart[] | null,
  limit: number,
): Fetch {
  const { move } = session;
  const key = after && keyLiterals(table, after);
  const rows = session.onSource((shard) =>
    shard.query(selectRows(table, move.bucket, key, limit), []),
  );
  // Heard when it is awaited; if the write before it fails, never.
  rows.catch(() => undefined);
  return { limit, rows };
}

/** Writes a packet of rows and the cursor behind them in one transaction; how long that took, milliseconds. */
async function writePiece(copy: Copy, table: TableShape, piece: Piece): Promise<number> {
  const { session, options } = copy;
  const { clock, probe } = session.services;
  const before = copy.progress.tables[table.name] ?? { counted: 0, copied: 0 };
  const copied = { ...before, copied: before.copied + piece.rows };
  const progress: MoveProgress = {
    ...copy.progress,
    cursor: { table: table.name, key: keyParts(table, piece.last) },
    tables: { ...copy.progress.tables, [table.name]: copied },
  };
  const startedAtMs = clock.monotonicMs();
  await session.write((shard) => [
    piece.text,
    progressStatement(session, shard, { phase: 'copying', progress }),
  ]);
  const tookMs = clock.monotonicMs() - startedAtMs;
  copy.progress = progress;
  copy.rows += piece.rows;
  await probe.reach('rebalancing.afterChunk', session.move.id);
  options.onProgress?.(progress);
  return tookMs;
}

interface Piece {
  readonly text: string;
  readonly rows: number;
  readonly last: SqlRow;
}

/** Inserts of rows, each of a bounded length unless a single row is longer. */
export function* inPieces(table: TableShape, rows: readonly SqlRow[]): Generator<Piece> {
  const head = insertHead(table);
  const tail = insertTail(table);
  let texts: string[] = [];
  let length = 0;
  let last: SqlRow | undefined;
  const piece = (): Piece => {
    if (last === undefined) throw new BugError('a piece without rows');
    return { text: head + texts.join(',\n') + tail, rows: texts.length, last };
  };
  for (const row of rows) {
    const text = textOf(table, row);
    if (texts.length > 0 && length + text.length > MAX_PACKET_TEXT) {
      yield piece();
      texts = [];
      length = 0;
    }
    texts.push(text);
    length += text.length;
    last = row;
  }
  if (texts.length > 0) yield piece();
}

function textOf(table: TableShape, row: SqlRow): string {
  const text = row[ROW_TEXT];
  if (typeof text === 'string') return text;
  // The server gives NULL for a text that is longer than its max_allowed_packet.
  throw new BugError('the source did not write a row down', { details: { table: table.name } });
}
