import type { CheckName, Violation } from './model.ts';
import type { PassContext } from './pass.ts';

/** The place of a violation that one shard shows alone. */
export function at(
  { chunk }: Pick<PassContext, 'chunk'>,
  check: CheckName,
  bucket: number,
  subject: string,
): Omit<Violation, 'problem'> {
  return { check, shard: chunk.shard, bucket, subject };
}

/** A row lies in the bucket that is the hash of its key (SQL has no hash of its own for it). */
export function checkPlace(
  context: Pick<PassContext, 'chunk' | 'counter'>,
  row: {
    readonly table: string;
    readonly bucket: number;
    readonly key: string;
    readonly home: number;
  },
): void {
  if (row.home === row.bucket) return;
  context.counter.violation({
    ...at(context, 'rows', row.bucket, `${row.table} ${row.bucket}/${row.key}`),
    problem: 'bucket-is-not-the-hash',
    detail: `belongs in bucket ${row.home}`,
  });
}
