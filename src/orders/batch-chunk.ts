import type { PacketResult, Refusal, Shard, SqlRow, WriteResult } from '../database/contracts.ts';
import { isFailure } from '../database/database-error.ts';
import type { BucketId, ShardId, UserId } from '../kernel/ids.ts';
import type { Probe } from '../kernel/probe.ts';
import { fromSqlDatetime, type Timestamp } from '../kernel/time.ts';
import {
  RESET_COUNTER,
  assertOwned,
  assertUsersExist,
  insertChunkRecord,
  insertOrders,
  selectChunkRecord,
  selectOrders,
  selectOwnership,
  selectUsers,
  splitCounter,
  type ChunkFindings,
  type ChunkKey,
  type OrderRow,
} from './batch-statements.ts';
import { distinctUsers, rowSetOf, type RowSet } from './row-set.ts';

/** What one transaction did with its rows. `inserted + duplicates + conflicts + missing + refused` = all rows. */
export interface ChunkOutcome {
  readonly inserted: number;
  /** There already with the same content, or a second time in the same batch. */
  readonly duplicates: number;
  /** There already with other content. */
  readonly conflicts: number;
  /** The rows behind `conflicts`, found by reading back after the commit. */
  readonly conflictRows: readonly OrderRow[];
  /** Rows whose user does not exist. */
  readonly missing: readonly OrderRow[];
  /** Buckets this shard did not own; their rows were not tried. */
  readonly refused: ReadonlyMap<BucketId, Refusal>;
}

export interface ChunkAttempt {
  readonly shard: Shard;
  readonly set: RowSet;
  /** Given: the outcome is recorded with the rows, and a repetition gives the recorded one. */
  readonly key?: ChunkKey | undefined;
  /** Whether to leave out these buckets and write the rest, or to write nothing and wait. */
  readonly acceptRefusals: (refused: ReadonlyMap<BucketId, Refusal>) => boolean;
  readonly now: Timestamp;
  readonly probe: Probe;
}

export type AttemptResult =
  | { readonly kind: 'done'; readonly outcome: ChunkOutcome }
  /** Nothing was written: these buckets are in transition. */
  | { readonly kind: 'waiting'; readonly refused: ReadonlyMap<BucketId, Refusal> };

interface Findings {
  readonly refused: ReadonlyMap<BucketId, Refusal>;
  readonly missingUsers: ReadonlySet<UserId>;
}

const NO_FINDINGS: Findings = { refused: new Map(), missingUsers: new Set() };

/** Times one attempt looks again because the world changed between look and write. */
const MAX_LOOKS = 5;

/**
 * Writes the rows of one chunk on one shard, in one transaction and, when nothing is wrong with them, one round trip.
 * Without a key, a repetition after an unknown commit reports its own rows as duplicates. Throws the database's
 * errors; repeating after a retryable one is safe.
 */
export async function attemptChunk(attempt: ChunkAttempt): Promise<AttemptResult> {
  let findings = NO_FINDINGS;
  for (let look = 1; ; look++) {
    try {
      return { kind: 'done', outcome: await write(attempt, findings) };
    } catch (error) {
      if (attempt.key !== undefined && isFailure(error, 'duplicate')) {
        return { kind: 'done', outcome: await recorded(attempt, attempt.key) };
      }
      if (!isFailure(error, 'assertion') || look === MAX_LOOKS) throw error;
    }
    const found = await diagnose(attempt);
    if (found.kind === 'recorded') return { kind: 'done', outcome: found.outcome };
    findings = found.findings;
    if (findings.refused.size > 0 && !attempt.acceptRefusals(findings.refused)) {
      return { kind: 'waiting', refused: findings.refused };
    }
  }
}

async function write(attempt: ChunkAttempt, findings: Findings): Promise<ChunkOutcome> {
  const { shard, key, probe } = attempt;
  const set = findings === NO_FINDINGS ? attempt.set : rowSetOf(tried(attempt, findings));
  const statements: string[] = [];
  if (set.count > 0) statements.push(assertOwned(set.buckets), assertUsersExist(set));
  statements.push(RESET_COUNTER);
  const insertAt = statements.length;
  if (set.count > 0) statements.push(insertOrders(set));
  if (key !== undefined) {
    const record = { key, findings: asRecord(findings), createdAt: attempt.now };
    statements.push(insertChunkRecord({ ...record, literal: (value) => shard.literal(value) }));
  }
  await probe.reach('orders.beforeBatchCommit');
  const results = statements.length === 1 ? [] : await shard.packet(statements);
  await probe.reach('orders.afterBatchCommit');
  const counter = set.count > 0 ? asWrite(results[insertAt]).insertId : 0;
  return await outcomeOf(attempt, findings, counter);
}

async function outcomeOf(
  attempt: ChunkAttempt,
  findings: Findings,
  counter: number,
): Promise<ChunkOutcome> {
  const { same, other } = splitCounter(counter);
  const { count } =
    findings === NO_FINDINGS ? attempt.set : { count: tried(attempt, findings).length };
  return {
    inserted: count - same - other,
    duplicates: same,
    conflicts: other,
    conflictRows: other > 0 ? await conflicting(attempt.shard, tried(attempt, findings)) : [],
    missing:
      findings.missingUsers.size === 0
        ? []
        : attempt.set
            .rows()
            .filter(
              (row) => !findings.refused.has(row.bucket) && findings.missingUsers.has(row.userId),
            ),
    refused: findings.refused,
  };
}

async function recorded(attempt: ChunkAttempt, key: ChunkKey): Promise<ChunkOutcome> {
  const { shard } = attempt;
  const rows = await shard.query(
    selectChunkRecord(key, (value) => shard.literal(value)),
    [],
  );
  return await replay(attempt, rows[0]);
}

function replay(attempt: ChunkAttempt, record: SqlRow | undefined): Promise<ChunkOutcome> {
  const list = (column: string): string[] =>
    String(record?.[column] ?? '')
      .split(',')
      .filter((item) => item !== '');
  const refused = list('refused_buckets').map((bucket): [BucketId, Refusal] => [
    Number(bucket) as BucketId,
    // Where it was then does not matter any more; the map says where it is now.
    { kind: 'refused', state: 'gone', movedTo: null },
  ]);
  const findings = {
    refused: new Map(refused),
    missingUsers: new Set(list('missing_users') as UserId[]),
  };
  return outcomeOf(attempt, findings, Number(record?.['duplicates'] ?? 0));
}

/** Why an assertion failed: looks at record, ownership and users. */
async function diagnose(
  attempt: ChunkAttempt,
): Promise<
  | { readonly kind: 'recorded'; readonly outcome: ChunkOutcome }
  | { readonly kind: 'found'; readonly findings: Findings }
> {
  const { shard, set, key } = attempt;
  const { buckets } = set;
  const statements = [selectOwnership(buckets), selectUsers(set)];
  if (key !== undefined) statements.push(selectChunkRecord(key, (value) => shard.literal(value)));
  const [ownership, existing, records] = (await shard.packet(statements)).map(asRows);
  const record = records?.[0];
  if (record !== undefined) return { kind: 'recorded', outcome: await replay(attempt, record) };
  const refused = refusals(buckets, ownership ?? []);
  const known = new Set((existing ?? []).map((row) => String(row['user_id'])));
  const missingUsers = new Set(
    distinctUsers(set.rows())
      .filter((row) => !refused.has(row.bucket) && !known.has(row.userId))
      .map((row) => row.userId),
  );
  return { kind: 'found', findings: { refused, missingUsers } };
}

function refusals(buckets: readonly BucketId[], rows: readonly SqlRow[]): Map<BucketId, Refusal> {
  const states = new Map(rows.map((row) => [Number(row['bucket']), row]));
  const refused = new Map<BucketId, Refusal>();
  for (const bucket of buckets) {
    const row = states.get(bucket);
    const state = (row?.['state'] ?? 'absent') as Refusal['state'] | 'owned';
    if (state === 'owned') continue;
    const movedTo = row?.['moved_to'] ?? null;
    refused.set(bucket, {
      kind: 'refused',
      state,
      movedTo: movedTo === null ? null : (Number(movedTo) as ShardId),
    });
  }
  return refused;
}

/** The rows that are there with other content. */
async function conflicting(shard: Shard, rows: readonly OrderRow[]): Promise<OrderRow[]> {
  const there = new Map(
    (await shard.query(selectOrders(rows), [])).map((row) => [
      `${Number(row['bucket'])}/${String(row['order_id'])}`,
      row,
    ]),
  );
  return rows.filter((row) => {
    const found = there.get(`${row.bucket}/${row.orderId}`);
    if (found === undefined) return false;
    const sameTime =
      !row.createdAtGiven || fromSqlDatetime(String(found['created_at'])) === row.createdAt;
    const sameContent =
      String(found['user_id']) === row.userId && Number(found['amount_cents']) === row.amountCents;
    return !sameContent || !sameTime;
  });
}

/** The rows that are not left out. */
function tried({ set }: ChunkAttempt, { refused, missingUsers }: Findings): readonly OrderRow[] {
  return set.rows().filter((row) => !refused.has(row.bucket) && !missingUsers.has(row.userId));
}

function asRecord(findings: Findings): ChunkFindings {
  return {
    refusedBuckets: [...findings.refused.keys()],
    missingUsers: [...findings.missingUsers],
  };
}

function asWrite(result: PacketResult | undefined): WriteResult {
  return Array.isArray(result) || result === undefined
    ? { affectedRows: 0, insertId: 0 }
    : (result as WriteResult);
}

function asRows(result: PacketResult): readonly SqlRow[] {
  return Array.isArray(result) ? (result as readonly SqlRow[]) : [];
}
