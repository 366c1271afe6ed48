import { z } from 'zod';
import type { SqlRow, SqlValue } from '../database/contracts.ts';
import { stepError, type StepError } from '../durable/saga/step.ts';
import { SAGA_STATUSES, sagaOutcome, stepView, type SagaStatus } from '../durable/saga/view.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { startDeadline } from '../kernel/deadline.ts';
import { PermanentError } from '../kernel/errors.ts';
import { timestampText } from '../kernel/schemas.ts';
import { fromSqlDatetime, timestampOf, toSqlDatetime, type Timestamp } from '../kernel/time.ts';
import type { Services } from '../services.ts';
import { listSagas as listStatement } from './list-statements.ts';

/** Shards asked at once. */
const SHARDS_AT_ONCE = 8;
export const MAX_LISTED = 200;
export const DEFAULT_LISTED = 50;

/** A saga in a list. */
export const sagaSummary = z
  .object({
    sagaId: z.string(),
    kind: z.string(),
    status: z.enum(SAGA_STATUSES),
    attention: z.boolean().meta({ description: 'It does not get on: somebody should look.' }),
    startedAt: timestampText,
    updatedAt: timestampText,
    finishedAt: timestampText.nullable(),
    lastError: stepError.optional().meta({
      description:
        'Why it compensated, or the last failure of the step it is at, as last recorded.',
    }),
  })
  .meta({ id: 'SagaSummary' });
export type SagaSummary = z.infer<typeof sagaSummary>;

export interface SagaFilter {
  /** As the app's modules have them: what cannot be run is not shown. */
  readonly kinds: readonly string[];
  readonly status: SagaStatus | undefined;
  readonly attention: boolean | undefined;
  readonly limit: number;
  readonly cursor: string | undefined;
}

export interface SagaPage {
  readonly sagas: readonly SagaSummary[];
  /** Null on the last page. */
  readonly nextCursor: string | null;
}

/** Where a page ended: the next one begins with what is older. */
interface Position {
  readonly startedAt: Timestamp;
  readonly sagaId: string;
}

/**
 * Sagas of all shards, newest first. One that moves to another shard while they are asked may be missing in this page.
 * Throws `shard-unavailable` (retryable) when a shard does not answer, and `validation-failed` for a foreign cursor.
 */
export async function listSagas(services: Services, filter: SagaFilter): Promise<SagaPage> {
  const { database, config, clock } = services;
  const { limit, cursor } = filter;
  const after = cursor === undefined ? undefined : decodeCursor(cursor);
  const query = queryOf(filter, after, limit + 1);
  if (query === undefined) return { sagas: [], nextCursor: null };
  const deadline = startDeadline(clock, config.REQUEST_DEADLINE_MS);
  const answers = await mapBounded(database.shardIds(), SHARDS_AT_ONCE, (shard) =>
    database.onShard(shard, (on) => on.query(query.text, query.values), {
      deadlineMs: deadline.remainingMs(),
    }),
  );
  // A bucket that moves in between is told of by both its shards.
  const found = new Map(answers.flat().map((row) => [String(row['saga_id']), row]));
  const sagas = [...found.values()].map(summaryInRow).toSorted(newestFirst);
  const shown = sagas.slice(0, limit);
  const last = shown.at(-1);
  const more = sagas.length > limit && last !== undefined;
  return { sagas: shown, nextCursor: more ? encodeCursor(last.startedAt, last.sagaId) : null };
}

function queryOf(
  { kinds, status, attention }: SagaFilter,
  after: Position | undefined,
  limit: number,
): { readonly text: string; readonly values: readonly SqlValue[] } | undefined {
  const statuses = SAGA_STATUSES.filter(
    (candidate) =>
      (status === undefined || status === candidate) &&
      // An ended saga needs nobody's attention, and there may be millions of them to look through.
      (attention !== true || candidate === 'running' || candidate === 'compensating'),
  );
  const ranges = statuses.flatMap((each) => kinds.map((kind) => [each, kind] as const));
  if (ranges.length === 0) return undefined;
  const time = after === undefined ? '' : toSqlDatetime(after.startedAt);
  const values = ranges.flatMap((range) => [
    ...range,
    ...(after === undefined ? [] : [time, time, after.sagaId]),
    ...(attention === undefined ? [] : [attention ? 1 : 0]),
    limit,
  ]);
  const text = listStatement(ranges.length, {
    after: after !== undefined,
    attention: attention !== undefined,
  });
  return { text, values: [...values, limit] };
}

function summaryInRow(row: SqlRow): SagaSummary {
  const finishedAt = row['finished_at'];
  const lastError = lastErrorOf(row);
  return {
    sagaId: String(row['saga_id']),
    kind: String(row['kind']),
    status: row['status'] as SagaStatus,
    attention: Number(row['attention']) === 1,
    startedAt: fromSqlDatetime(String(row['created_at'])),
    updatedAt: fromSqlDatetime(String(row['updated_at'])),
    finishedAt: typeof finishedAt === 'string' ? fromSqlDatetime(finishedAt) : null,
    ...(lastError !== undefined && { lastError }),
  };
}

function lastErrorOf(row: SqlRow): StepError | undefined {
  const outcome = sagaOutcome.safeParse(jsonIn(row['outcome']));
  if (outcome.success) {
    return outcome.data.kind === 'compensated' ? outcome.data.error : undefined;
  }
  const steps = z.array(stepView).safeParse(jsonIn(row['steps']));
  return steps.data?.findLast((step) => step.lastError !== undefined)?.lastError;
}

function jsonIn(text: SqlValue | undefined): unknown {
  return typeof text === 'string' ? (JSON.parse(text) as unknown) : undefined;
}

function newestFirst(a: SagaSummary, b: SagaSummary): number {
  if (a.startedAt !== b.startedAt) return a.startedAt < b.startedAt ? 1 : -1;
  return a.sagaId < b.sagaId ? 1 : -1;
}

/** Version, milliseconds, saga id; the last may hold dots. */
function encodeCursor(startedAt: string, sagaId: string): string {
  return Buffer.from(`1.${Date.parse(startedAt)}.${sagaId}`).toString('base64url');
}

const CURSOR = /^1\.(\d{1,15})\.([A-Za-z0-9_.:-]{1,100})$/;

function decodeCursor(cursor: string): Position {
  const [, time = '', sagaId = ''] =
    CURSOR.exec(Buffer.from(cursor, 'base64url').toString('latin1')) ?? [];
  const startedAt = time === '' ? undefined : timestampOf(Number(time));
  if (startedAt !== undefined) {
    // Decoding is lenient (padding, stray characters); only the one canonical text counts.
    if (encodeCursor(startedAt, sagaId) === cursor) return { startedAt, sagaId };
  }
  throw PermanentError.validation('The request is not valid.', [
    { path: '/query/cursor', message: 'must be the nextCursor of an earlier page' },
  ]);
}
