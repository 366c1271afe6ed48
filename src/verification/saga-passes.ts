import { z } from 'zod';
import type { SqlRow } from '../database/contracts.ts';
import { SAGA_STATUSES } from '../durable/saga/view.ts';
import { fromSqlDatetime } from '../kernel/time.ts';
import { homeBucketOf, type SagaId } from '../sagas/saga-id.ts';
import { at, checkPlace } from './findings.ts';
import { checkFinished, type FinishedTransfer } from './order-passes.ts';
import type { Pass, PassContext } from './pass.ts';
import { readPage } from './pass.ts';
import { readLedger, readSagas } from './statements.ts';

/** The part of a transfer's input that tells which order went where. */
const transferInput = z.object({
  orderId: z.string(),
  fromUserId: z.string(),
  toUserId: z.string(),
});

/** Every saga ends, and an ended one says how. */
export const sagasPass: Pass = {
  checks: ['rows', 'sagas', 'orders'],
  page: async (context, after) => {
    const { counter } = context;
    const key = ['bucket', 'saga_id'];
    const { rows, last } = await readPage(context, { text: readSagas, key, after });
    counter.checked('rows', rows.length);
    counter.checked('sagas', rows.length);
    const finished: FinishedTransfer[] = [];
    for (const row of rows) {
      const bucket = Number(row['bucket']);
      const sagaId = String(row['saga_id']);
      const home = homeBucketOf(sagaId as SagaId);
      checkPlace(context, { table: 'sagas', bucket, key: sagaId, home });
      checkSaga(context, row, bucket, sagaId);
      const transfer = readTransfer(row['input']);
      if (transfer !== undefined) finished.push(transfer);
    }
    if (counter.wants('orders')) await checkFinished(context, finished);
    return { rows: rows.length, last };
  },
};

function checkSaga(context: PassContext, row: SqlRow, bucket: number, sagaId: string): void {
  const { counter } = context;
  const where = at(context, 'sagas', bucket, `sagas ${bucket}/${sagaId}`);
  const status = String(row['status']);
  if (!SAGA_STATUSES.some((known) => known === status)) {
    counter.violation({ ...where, problem: 'invalid-status', detail: status });
  } else if (status === 'completed' || status === 'compensated') {
    counter.figure('sagasEnded', 1);
    if (Number(row['has_outcome']) !== 1) {
      counter.violation({ ...where, problem: 'outcome-missing', detail: status });
    } else if (row['finished_at'] === null) {
      counter.violation({ ...where, problem: 'finish-time-missing', detail: status });
    }
  } else {
    counter.figure('sagasUnfinished', 1);
    const createdAt = fromSqlDatetime(String(row['created_at']));
    if (createdAt < context.staleBefore) {
      const detail = `${String(row['kind'])} is ${status} since ${createdAt}`;
      counter.violation({ ...where, problem: 'unfinished-too-long', detail });
    }
  }
}

function readTransfer(input: unknown): FinishedTransfer | undefined {
  if (typeof input !== 'string') return undefined;
  try {
    return transferInput.safeParse(JSON.parse(input)).data;
  } catch {
    // Not our JSON: whoever reads the saga will say so.
    return undefined;
  }
}

const LEDGER_STATES: readonly string[] = ['done', 'undone', 'sealed'];

/** Every step's row has a state that the ledger knows. Rows whose saga left no journal are counted. */
export const ledgerPass: Pass = {
  checks: ['sagas'],
  page: async (context, after) => {
    const { counter, lookups } = context;
    const key = ['bucket', 'saga_id', 'step'];
    const goOn = ([bucket = 0, saga = '', step = '']: readonly (string | number)[], to: number) => [
      bucket,
      saga,
      step,
      bucket,
      saga,
      bucket,
      to,
    ];
    const { rows, last } = await readPage(context, { text: readLedger, key, after, goOn });
    counter.checked('sagas', rows.length);
    counter.figure('ledgerRows', rows.length);
    const steps = new Map<string, number>();
    for (const row of rows) {
      const bucket = Number(row['bucket']);
      const sagaId = String(row['saga_id']);
      const state = String(row['state']);
      if (!LEDGER_STATES.includes(state)) {
        const subject = `saga_steps ${bucket}/${sagaId}/${String(row['step'])}`;
        counter.violation({
          ...at(context, 'sagas', bucket, subject),
          problem: 'invalid-state',
          detail: state,
        });
      }
      // A local transaction needs no journal: its ledger rows say it all.
      if (!String(row['step']).startsWith('local')) steps.set(sagaId, (steps.get(sagaId) ?? 0) + 1);
    }
    const known = await lookups.sagas(
      [...steps.keys()].map((id) => ({ bucket: homeBucketOf(id as SagaId), key: id })),
    );
    for (const [sagaId, own] of steps) {
      if (!known.has(sagaId)) counter.figure('ledgerWithoutJournal', own);
    }
    return { rows: rows.length, last };
  },
};
