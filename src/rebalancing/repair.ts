import type { Shard, SqlRow } from '../database/contracts.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { inPieces, mostRows } from './copy.ts';
import type { ComparedChunk } from './digest.ts';
import { deleteKeys, selectKeys, selectRowDigests } from './row-statements.ts';
import type { MoveSession } from './session.ts';
import { keyLiterals, keyParts } from './table-shapes.ts';
import type { TableShape } from './table-shapes.ts';

/** Keys of one statement: each is a point on the primary key. */
const KEYS_PER_STATEMENT = 200;
/** Chunks looked at once on each side. */
const LANES = 2;
/** Characters of one packet, as when copying: one flush for many small repairs. */
const MAX_PACKET_TEXT = 1024 * 1024;

/**
 * Makes the target's rows of chunks equal to the source's, row by row: writes those that are missing or changed, deletes
 * those that the source has not. Gives how many differed. While writes go on it may be behind again at once; under the
 * fence it is final. Idempotent.
 */
export async function repairChunks(
  session: MoveSession,
  chunks: readonly ComparedChunk[],
): Promise<number> {
  let rows = 0;
  let statements: string[] = [];
  let length = 0;
  const flush = async (): Promise<void> => {
    if (statements.length === 0) return;
    const packet = statements;
    statements = [];
    length = 0;
    await session.services.probe.reach('rebalancing.beforeRepair', session.move.id);
    await session.write(() => packet);
  };
  // In groups, so that what was found is bounded by what is written at once.
  for (const group of inGroups(chunks, LANES)) {
    const found = await mapBounded(group, LANES, (chunk) => findRepairs(session, chunk));
    for (const repair of found) {
      rows += repair.rows;
      for (const statement of repair.statements) {
        if (length + statement.length > MAX_PACKET_TEXT) await flush();
        statements.push(statement);
        length += statement.length;
      }
    }
  }
  await flush();
  return rows;
}

interface Repairs {
  readonly rows: number;
  readonly statements: readonly string[];
}

async function findRepairs(session: MoveSession, chunk: ComparedChunk): Promise<Repairs> {
  const { table } = chunk.part;
  const { bucket } = session.move;
  const text = selectRowDigests(chunk.part, bucket);
  const read = (shard: Shard): Promise<readonly SqlRow[]> => shard.query(text, []);
  const [source, target] = await Promise.all([session.onSource(read), session.onTarget(read)]);
  const { toWrite, toDelete } = differences(table, source, target);
  const statements: string[] = [];
  for (const keys of inGroups(toWrite, mostRows(table, KEYS_PER_STATEMENT))) {
    // Rows that vanished meanwhile are left for the next look.
    const rows = await session.onSource((shard) =>
      shard.query(selectKeys(table, bucket, keys), []),
    );
    for (const piece of inPieces(table, rows)) statements.push(piece.text);
  }
  for (const keys of inGroups(toDelete, KEYS_PER_STATEMENT)) {
    statements.push(deleteKeys(table, bucket, keys));
  }
  return { rows: toWrite.length + toDelete.length, statements };
}

type KeyText = readonly string[];

/** Compares rows by key and digest; pure. */
export function differences(
  table: TableShape,
  source: readonly SqlRow[],
  target: readonly SqlRow[],
): { readonly toWrite: readonly KeyText[]; readonly toDelete: readonly KeyText[] } {
  const there = new Map(
    target.map((row) => {
      const key = keyLiterals(table, keyParts(table, row));
      return [key.join(), { key, digest: row['h'] }];
    }),
  );
  const toWrite: KeyText[] = [];
  for (const row of source) {
    const key = keyLiterals(table, keyParts(table, row));
    const id = key.join();
    if (there.get(id)?.digest !== row['h']) toWrite.push(key);
    there.delete(id);
  }
  return { toWrite, toDelete: [...there.values()].map(({ key }) => key) };
}

function* inGroups<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}
