import { expect } from 'vitest';
import type { ErrorCode } from '../../../src/kernel/errors.ts';
import type { ProbePoint } from '../../../src/kernel/probe.ts';
import type { Faults } from '../faults/faults.ts';
import type { Fault } from '../faults/plan.ts';
import { type CaseWorld, makeCase, type SagaCase } from './cases.ts';
import type { Row } from './matrix.ts';
import { endedOrchestration, endedSaga, ledgerOf, reasonOf } from './watch.ts';

/** The code of a refusal that a test made: no rule of the domain answers it in these cases. */
export const INJECTED: ErrorCode = 'idempotency-conflict';

export interface CellWorld extends CaseWorld {
  readonly faults: Faults;
}

/** One row of the matrix under one fault: a saga with data of its own. */
export interface Cell {
  readonly row: Row;
  readonly sagaId: string;
  readonly saga: SagaCase;
  /** As probe points name the row's delivery. */
  readonly subject: string;
  /** How the saga must end. */
  readonly expected: 'completed' | 'compensated';
  /** Notes of each delivery of the row, and of each that was answered. */
  readonly delivered: string;
  readonly answered: string;
  /** The fault that refuses the pivot, if any. */
  readonly refusal?: string;
}

/** Whether the row needs the pivot refused, and whether the column refuses the row itself for good. */
export interface CellPlan {
  readonly refusePivot: boolean;
  readonly refuseRow?: boolean;
}

/** Prepares a cell: data, notes, and the refusal of the pivot that brings the saga to the row. */
export async function prepareCell(
  world: CellWorld,
  row: Row,
  at: { readonly column: string; readonly shard: number } & CellPlan,
): Promise<Cell> {
  const { faults } = world;
  const sagaId = `${at.column}-${row.saga}-${row.step.name}-${row.verb}-${world.random.below(1e6)}`;
  const subject = `${sagaId}/${row.step.name}/${row.verb}`;
  const saga = await makeCase(world, row.saga, { step: row.step.name, shard: at.shard });
  const note = (point: ProbePoint): string => faults.arm({ point, subject, action: 'note' });
  const refusal = at.refusePivot ? refusePivot(world, sagaId, row.pivot) : undefined;
  const isCompensated = at.refusePivot || at.refuseRow === true;
  return {
    row,
    sagaId,
    saga,
    subject,
    expected: isCompensated ? 'compensated' : 'completed',
    delivered: note('sagas.beforeStep'),
    answered: note('sagas.afterCommit'),
    ...(refusal === undefined ? {} : { refusal }),
  };
}

/** However often it is delivered: a host that is killed may forget that it was refused. */
function refusePivot({ faults }: CellWorld, sagaId: string, pivot: string): string {
  const subject = `${sagaId}/${pivot}/run`;
  const fault = { point: 'sagas.beforeStep', action: 'permanent', code: INJECTED } as const;
  return faults.arm({ ...fault, subject, times: 'always' });
}

export function armAt(
  { faults }: CellWorld,
  cell: Cell,
  fault: Pick<Fault, 'point' | 'action'> & Partial<Fault>,
): string {
  return faults.arm({ subject: cell.subject, ...fault });
}

export async function submit({ app }: CellWorld, cell: Cell): Promise<void> {
  await app.enqueue('sagas', { sagaId: cell.sagaId, ...cell.saga.message });
}

/** Delivers the row's step once more, as it was delivered first; returns when that was answered. */
export async function deliverAgain(world: CellWorld, cell: Cell, times = 1): Promise<void> {
  const answered = world.faults.hits(cell.answered).length;
  await sendAgain(world, cell, times);
  await world.faults.happened(cell.answered, answered + times);
}

/** As {@link deliverAgain}, but does not wait for the answers. */
export async function sendAgain(world: CellWorld, cell: Cell, times: number): Promise<void> {
  const { app, faults } = world;
  const [first] = await faults.happened(cell.delivered);
  const delivered = faults.hits(cell.delivered).length;
  const path = `/admin/functions/${cell.row.step.contract.activity.name}`;
  for (let copy = 0; copy < times; copy += 1) {
    const reply = await app.http.post(path, { input: JSON.stringify(first?.detail) });
    expect(reply.status).toBe(202);
  }
  await faults.happened(cell.delivered, delivered + times);
}

/** Waits for the end of the cell's saga and looks at everything: outcome, orchestration, data, ledger. */
export async function checkCell(world: CellWorld, cell: Cell): Promise<void> {
  const { app } = world;
  const ended = await endedSaga(app, cell.sagaId);
  expect([ended['kind'], ended['status']]).toEqual([cell.row.saga, cell.expected]);
  expect(await endedOrchestration(app, cell.sagaId)).toBe('Completed');
  if (cell.expected === 'completed') await cell.saga.expectAll();
  else {
    await cell.saga.expectNothing();
    expect(await reasonOf(app, cell.sagaId)).toBe(INJECTED);
  }
  const ledger = await ledgerOf(app, cell.sagaId);
  expect(ledger.length).toBeGreaterThan(0);
}
