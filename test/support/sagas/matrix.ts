import type { AnySaga, SagaStep } from '../../../src/durable/saga/definition.ts';
import type { StepVerb } from '../../../src/durable/saga/step.ts';
import type { Random } from '../random.ts';
import type { SagaKind } from './cases.ts';

/** One delivery that a saga can come to: a step's run, the compensation of a step, or the closing of the pivot. */
export interface Row {
  readonly saga: SagaKind;
  readonly step: SagaStep;
  /** The step that must be refused for the delivery to come about, if any. */
  readonly pivot: string;
  readonly verb: StepVerb;
}

/** Every delivery of every saga, from the tables. */
export function rowsOf(sagas: readonly AnySaga[]): readonly Row[] {
  return sagas.flatMap((saga) => {
    const pivot = saga.steps.find((step) => step.role === 'pivot');
    if (pivot === undefined) throw new Error(`${saga.kind} has no pivot`);
    const row = (step: SagaStep, verb: StepVerb): Row => ({
      saga: saga.kind as SagaKind,
      step,
      pivot: pivot.name,
      verb,
    });
    return [
      ...saga.steps.map((step) => row(step, 'run')),
      ...saga.steps
        .filter((step) => step.role === 'compensatable')
        .map((step) => row(step, 'undo')),
      row(pivot, 'seal'),
    ];
  });
}

export function nameOf(row: Row): string {
  return `${row.saga} ${row.step.name} ${row.verb}`;
}

/** What became of a row under a fault. */
export type Verdict = 'completed' | 'compensated' | 'FAIL';

export interface Matrix {
  set(row: Row, column: string, verdict: Verdict): void;
  /** As a table; `·`: left out of this run. */
  print(): string;
}

export function createMatrix(rows: readonly Row[], columns: readonly string[]): Matrix {
  const cells = new Map<string, Verdict>();
  const key = (row: Row, column: string): string => `${nameOf(row)}|${column}`;
  return {
    set: (row, column, verdict) => void cells.set(key(row, column), verdict),
    print: () => {
      const first = Math.max(...rows.map((row) => nameOf(row).length));
      const widths = columns.map((column) => Math.max(column.length, 'compensated'.length));
      const line = (head: string, values: readonly string[]): string =>
        [head.padEnd(first), ...values.map((value, at) => value.padEnd(widths[at] ?? 0))].join(
          '  ',
        );
      return [
        line('', columns),
        ...rows.map((row) => {
          const found = columns.map((column) => cells.get(key(row, column)) ?? '·');
          return line(nameOf(row), found);
        }),
      ].join('\n');
    },
  };
}

/** The list in another order. */
export function shuffled<T>(list: readonly T[], random: Random): readonly T[] {
  const result = [...list];
  for (let last = result.length - 1; last > 0; last -= 1) {
    const other = random.below(last + 1);
    [result[last], result[other]] = [result[other] as T, result[last] as T];
  }
  return result;
}
