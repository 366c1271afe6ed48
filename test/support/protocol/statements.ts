import { assertNever } from '../../../src/kernel/exhaustive.ts';
import type { Fault } from './faults.ts';
import { ABSENT, other, withAt } from './state.ts';
import type { At, Rec, Row, Rows, State, Statement } from './state.ts';

/** What a statement did; `waits` when a lock is in its way. */
export type Effect = { readonly state: State; readonly affected: boolean } | 'waits';

export type Faults = ReadonlySet<Fault>;

/**
 * One statement (or transaction) on one server, atomically: its WHERE as written in `src/database/statements.ts` and
 * `src/rebalancing/move-statements.ts`. Who changes a row of `bucket_ownership` waits for the shared locks of writers.
 */
export function execute(state: State, statement: Statement, faults: Faults): Effect {
  const { shard } = statement;
  const ignores = statement.kind === 'fence' && faults.has('fence-ignores-writers');
  const readsOnly = statement.kind === 'save-published' || statement.kind === 'unmark';
  if (!readsOnly && !ignores && changesRow(statement) && isLocked(state, shard)) return 'waits';
  const after = apply(state, statement, faults);
  return after === undefined ? { state, affected: false } : { state: after, affected: true };
}

function changesRow({ kind }: Statement): boolean {
  return kind !== 'write' && kind !== 'delete-copy' && kind !== 'purge';
}

function isLocked(state: State, shard: At): boolean {
  return state.writing.some((write) => write.at === shard);
}

function apply(state: State, statement: Statement, faults: Faults): State | undefined {
  const row = state.own[statement.shard];
  const rec = state.rec[statement.shard];
  switch (statement.kind) {
    case 'receive':
      return receive(state, statement);
    case 'claim':
      return claim(state, statement);
    case 'write':
      return write(state, statement, faults);
    case 'fence':
    case 'lift':
    case 'lift-expired':
      return fenceOrLift(state, statement, faults);
    case 'give':
      return give(state, statement, faults);
    case 'take':
      return take(state, statement, faults);
    // UNMARK_CANCELLING: bucket = ? AND move_id = ? AND phase = 'cancelling'
    case 'unmark':
      if (rec?.phase !== 'cancelling' || rec.move !== statement.move) return undefined;
      return putRec(state, statement.shard, { ...rec, phase: 'checking' });
    // assertReceiving, deleteFirstRows
    case 'delete-copy':
      if (row.state !== 'receiving' || row.token !== statement.token) return undefined;
      return putRows(state, statement.shard, nothing(state));
    // SEND_BACK: state = 'receiving' AND token = ?, with DELETE_MOVE
    case 'send-back': {
      if (row.state !== 'receiving' || row.token !== statement.token) return undefined;
      const { shard } = statement;
      const back: Row = { ...row, state: 'gone', movedTo: other(shard), token: null, end: null };
      return putRec(put(state, shard, back), shard, null);
    }
    case 'purge':
      return purge(state, statement, faults);
    // SAVE_PUBLISHED: move_id = ? AND phase = 'owned'
    case 'save-published':
      if (rec?.move !== statement.move || rec.phase !== 'owned') return undefined;
      return putRec(state, statement.shard, { ...rec, published: true });
    default:
      return assertNever(statement);
  }
}

type Of<K extends Statement['kind']> = Extract<Statement, { kind: K }>;

function fenceOrLift(
  state: State,
  statement: Of<'fence' | 'lift' | 'lift-expired'>,
  faults: Faults,
): State | undefined {
  const { kind, shard } = statement;
  const row = state.own[shard];
  const open: Row = { ...row, state: 'owned', token: null, end: null };
  // FENCE_BUCKET: state = 'owned' AND epoch = ?
  if (kind === 'fence') {
    const { epoch, token } = statement;
    if (row.state !== 'owned' || row.epoch !== epoch) return undefined;
    return put(state, shard, { ...row, state: 'fenced', token, end: 'ahead' });
  }
  // LIFT_EXPIRED_FENCE: state = 'fenced' AND fenced_until <= UTC_TIMESTAMP(3)
  if (kind === 'lift-expired') {
    if (faults.has('lift-decided') && row.state === 'gone') return put(state, shard, open);
    const passed = row.end === 'passed' || faults.has('lift-without-clock');
    return row.state === 'fenced' && passed ? put(state, shard, open) : undefined;
  }
  // LIFT_FENCE: state = 'fenced' AND epoch = ? AND token <=> COALESCE(?, token)
  if (row.state !== 'fenced' || row.epoch !== statement.epoch) return undefined;
  return row.token === statement.token ? put(state, shard, open) : undefined;
}

/** INSERT_RECEIVING, or TURN_TO_RECEIVING: state = 'gone' AND epoch = ?; then DELETE_MOVE and INSERT_MOVE. */
function receive(
  state: State,
  { shard, move, epoch, token, seen }: Of<'receive'>,
): State | undefined {
  const row = state.own[shard];
  const matches =
    seen.state === 'absent'
      ? row.state === 'absent'
      : row.state === 'gone' && row.epoch === seen.epoch;
  if (!matches) return undefined;
  const received = put(state, shard, { ...ABSENT, state: 'receiving', epoch, token });
  const rec = { move, epoch, phase: 'copying', verified: false, published: false } as const;
  return putRec(received, shard, rec);
}

/** CLAIM, RECLAIM (with the token held), CLAIM_TO_CANCEL with MARK_CANCELLING. */
function claim(state: State, statement: Of<'claim'>): State | undefined {
  const { shard, move, token, held, toCancel } = statement;
  const [row, rec] = [state.own[shard], state.rec[shard]];
  if (row.state !== 'receiving' || rec?.move !== move) return undefined;
  if (!toCancel && rec.phase === 'cancelling') return undefined;
  if (held !== null && row.token !== held) return undefined;
  const claimed = put(state, shard, { ...row, token });
  return toCancel ? putRec(claimed, shard, { ...rec, phase: 'cancelling' }) : claimed;
}

/** A packet that begins with assertReceiving: state = 'receiving' AND token = ?; rows and saveProgress. */
function write(state: State, statement: Of<'write'>, faults: Faults): State | undefined {
  const { shard, token, rows, upsert, phase, verified } = statement;
  const [row, rec] = [state.own[shard], state.rec[shard]];
  if (!faults.has('write-unasserted')) {
    if (row.state !== 'receiving') return undefined;
    if (row.token !== token && !faults.has('write-without-token')) return undefined;
  }
  const before = state.rows[shard];
  const sent = rows?.map((value, key) => (value === 0 && upsert ? (before[key] ?? 0) : value));
  const written = sent === undefined ? state : putRows(state, shard, sent);
  if (rec === null) return written;
  return putRec(written, shard, {
    ...rec,
    phase: phase ?? rec.phase,
    verified: rec.verified || verified,
  });
}

/** GIVE_BUCKET_AWAY: state = 'fenced' AND epoch = ? AND token = ? */
function give(state: State, statement: Of<'give'>, faults: Faults): State | undefined {
  const { shard, epoch, token } = statement;
  const row = state.own[shard];
  if (row.epoch !== epoch || row.state === 'gone') return undefined;
  const unfenced = faults.has('decide-unfenced');
  if (row.state !== 'fenced' && !unfenced) return undefined;
  if (row.token !== token && !unfenced && !faults.has('decide-without-token')) return undefined;
  const movedTo = shard === 0 ? 1 : 0;
  return put(state, shard, { ...row, state: 'gone', epoch: epoch + 1, movedTo, end: null });
}

/** TAKE_BUCKET_OVER: state = 'receiving' AND epoch = ? */
function take(state: State, { shard, epoch }: Of<'take'>, faults: Faults): State | undefined {
  const [row, rec] = [state.own[shard], state.rec[shard]];
  if (row.state !== 'receiving') return undefined;
  if (row.epoch !== epoch && !faults.has('heal-without-epoch')) return undefined;
  const taken = put(state, shard, { ...ABSENT, state: 'owned', epoch: row.epoch + 1 });
  return rec === null ? taken : putRec(taken, shard, { ...rec, phase: 'owned' });
}

/** A packet that begins with assertGone: state = 'gone' AND epoch = ?; deleteFirstRows, deleteMove. */
function purge(state: State, { shard, epoch }: Of<'purge'>, faults: Faults): State | undefined {
  const row = state.own[shard];
  if (!faults.has('purge-unasserted')) {
    if (row.state !== 'gone') return undefined;
    if (row.epoch !== epoch && !faults.has('purge-without-epoch')) return undefined;
  }
  return putRec(putRows(state, shard, nothing(state)), shard, null);
}

function put(state: State, shard: At, row: Row): State {
  return { ...state, own: withAt(state.own, shard, row) };
}

function putRec(state: State, shard: At, rec: Rec | null): State {
  return { ...state, rec: withAt(state.rec, shard, rec) };
}

function putRows(state: State, shard: At, rows: Rows): State {
  return { ...state, rows: withAt(state.rows, shard, rows) };
}

function nothing(state: State): Rows {
  return state.expected.map(() => 0);
}
