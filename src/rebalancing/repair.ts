import type { Shard, SqlRow } from '../database/contracts.ts';
import { inPieces, mostRows } from './copy.ts';
import type { ComparedChunk } from './digest.ts';
import { deleteKeys, selectKeys, selectRowDigests } from './row-statements.ts';
import type { MoveSession } from './session.ts';
import { keyLiterals, keyParts } from './table-shapes.ts';
import type { TableShape } from './table-shapes.ts';

/** Keys of one statement: each is a point on the primary key. */
const KEYS_PER_STATEMENT = 200;

/**
 * Makes the target's rows of a chunk equal to the source's, row by row: writes those that are missing or changed, deletes
 * those that the source has not. Gives how many differed. While writes go on it may be behind again at once; under the
 * fence it is final. Idempotent.
 */
export async function repairChunk(session: MoveSession, chunk: ComparedChunk): Promise<number> {
  const { table } = chunk.part;
  const text = selectRowDigests(chunk.part, session.move.bucket);
  const read = (shard: Shard): Promise<readonly SqlRow[]> => shard.query(text, []);
  const [source, target] = await Promise.all([session.onSource(read), session.onTarget(read)]);
  const { toWrite, toDelete } = differences(table, source, target);
  await session.services.probe.reach('rebalancing.beforeRepair', session.move.id);
  await writeKeys(session, table, toWrite);
  for (const keys of inGroups(toDelete, KEYS_PER_STATEMENT)) {
    await session.write(() => [deleteKeys(table, session.move.bucket, keys)]);
  }
  return toWrite.length + toDelete.length;
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

/** Rows that vanish meanwhile are left for the next look. */
async function writeKeys(
  session: MoveSession,
  table: TableShape,
  keys: readonly KeyText[],
): Promise<void> {
  for (const group of inGroups(keys, mostRows(table, KEYS_PER_STATEMENT))) {
    const text = selectKeys(table, session.move.bucket, group);
    const rows = await session.onSource((shard) => shard.query(text, []));
    for (const piece of inPieces(table, rows)) await session.write(() => [piece.text]);
  }
}

function* inGroups<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}
