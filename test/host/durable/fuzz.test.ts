import { setTimeout as delay } from 'node:timers/promises';
import type { OrchestrationContext, Task } from 'durable-functions';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  compute,
  evaluate,
  FAILED,
  fold,
  randomProgram,
  randomSource,
  type Leaf,
  type Program,
  type Statement,
} from './support/fuzz-program.ts';
import { loadInProcessApp } from './support/in-process-app.ts';
import { startTestHost, type TestHost } from './support/test-host.ts';

const { df } = loadInProcessApp();
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000_000);
const programs = Number(process.env['PROGRAMS'] ?? 300);
const attemptsMade = new Map<string, number>();
let host: TestHost;

type Steps<T> = Generator<Task, T, unknown>;

interface Flaky {
  readonly key: string;
  readonly failures: number;
  readonly input: number;
  readonly n: number;
}

function attempt({ key, failures, input, n }: Flaky): number {
  const made = (attemptsMade.get(key) ?? 0) + 1;
  attemptsMade.set(key, made);
  if (made <= failures) throw new Error(`${key} attempt ${made}`);
  return compute(input, n);
}

df.app.activity('compute', {
  handler: async ({ input, n, delayMs }: { input: number; n: number; delayMs: number }) => {
    if (delayMs > 0) await delay(delayMs);
    return compute(input, n);
  },
});
df.app.activity('attempt', { handler: attempt });
df.app.activity('raise', {
  handler: async ({ id, name, value }: { id: string; name: string; value: number }) => {
    await host.call('POST', `/instances/${encodeURIComponent(id)}/raiseEvent/${name}`, value);
  },
});
df.app.entity('sum', (context) => {
  const sum = (context.df.getState(() => 0) as number) + context.df.getInput<number>()!;
  context.df.setState(sum);
  context.df.return(sum);
});
df.app.orchestration('flakyChild', function* (context) {
  return yield context.df.callActivity('attempt', context.df.getInput());
});
df.app.orchestration('program', function* (context) {
  const { program, input } = context.df.getInput<{ program: Program; input: number }>();
  const [round = [], ...rest] = program.rounds;
  let value = input;
  for (const statement of round) value = fold(value, yield* run(context, statement, value));
  if (rest.length > 0) {
    context.df.continueAsNew({ program: { ...program, rounds: rest }, input: value });
    return null;
  }
  if (program.throws) throw new Error('the program throws');
  return value;
});

function taskOf({ df: durable }: OrchestrationContext, leaf: Leaf, input: number): Task {
  switch (leaf.kind) {
    case 'activity':
      return durable.callActivity('compute', { input, n: leaf.n, delayMs: leaf.delayMs });
    case 'retry': {
      const options = new df.RetryOptions(1 + (leaf.n % 3), leaf.attempts);
      return durable.callActivityWithRetry('attempt', options, { ...leaf, input });
    }
    case 'childRetry': {
      const options = new df.RetryOptions(1 + (leaf.n % 3), leaf.attempts);
      return durable.callSubOrchestratorWithRetry('flakyChild', options, { ...leaf, input });
    }
    case 'child':
      return durable.callSubOrchestrator('program', { program: leaf.program, input });
    case 'timer':
      return durable.createTimer(new Date(durable.currentUtcDateTime.getTime() + leaf.delayMs));
    case 'entity':
      return durable.callEntity(new df.EntityId('sum', leaf.key), 'add', leaf.n);
  }
}

function valueOf(leaf: Leaf, result: unknown): number {
  return leaf.kind === 'timer' ? 0 : Number(result);
}

/** Result of a task that has ended, without looking at the type of its failure. */
function settled(leaf: Leaf, task: Task): number {
  const { isCompleted, result } = task as unknown as { isCompleted: boolean; result: unknown };
  return isCompleted ? valueOf(leaf, result) : FAILED;
}

function* run(context: OrchestrationContext, statement: Statement, input: number): Steps<number> {
  const durable = context.df;
  switch (statement.kind) {
    case 'yield':
      return yield* runAll(context, [statement.leaf], input);
    case 'all':
      return yield* runAll(context, statement.leaves, input);
    case 'nested':
      return yield* runNested(context, statement.outer, statement.inner, input);
    case 'anyLoop':
      return yield* runAnyLoop(context, statement.leaves, input);
    case 'anyThenAll':
      return yield* runAnyThenAll(context, statement.leaves, input);
    case 'race': {
      const timer = durable.createTimer(new Date(durable.currentUtcDateTime.getTime() + 3_600_000));
      const work = durable.callActivity('compute', { input, n: statement.n, delayMs: 0 });
      const winner = yield durable.Task.any([timer, work]);
      timer.cancel();
      return winner === work ? settled({ kind: 'activity', n: 0, delayMs: 0 }, work) : FAILED;
    }
    case 'event': {
      const value = compute(input, statement.n);
      yield durable.callActivity('raise', { id: durable.instanceId, name: statement.name, value });
      return Number(yield durable.waitForExternalEvent(statement.name));
    }
    case 'signals': {
      const id = new df.EntityId('sum', statement.key);
      for (let i = 0; i < statement.count; i += 1) durable.signalEntity(id, 'add', 1);
      return Number(yield durable.callEntity(id, 'add', 0));
    }
    case 'lock':
      return yield* runLocked(context, statement.n, statement.key);
  }
}

function* runAll(
  context: OrchestrationContext,
  leaves: readonly Leaf[],
  input: number,
): Steps<number> {
  const tasks = leaves.map((leaf) => taskOf(context, leaf, input));
  const [only] = tasks;
  try {
    const results =
      tasks.length === 1 && only !== undefined
        ? [yield only]
        : ((yield context.df.Task.all(tasks)) as unknown[]);
    return total(leaves, results);
  } catch {
    return FAILED;
  }
}

function total(leaves: readonly Leaf[], results: readonly unknown[]): number {
  return leaves.reduce((sum, leaf, i) => sum + valueOf(leaf, results[i]), 0);
}

function* runNested(
  context: OrchestrationContext,
  outer: readonly Leaf[],
  inner: readonly Leaf[],
  input: number,
): Steps<number> {
  const innerTask = context.df.Task.all(inner.map((leaf) => taskOf(context, leaf, input)));
  const outerTasks = outer.map((leaf) => taskOf(context, leaf, input));
  try {
    const results = (yield context.df.Task.all([innerTask, ...outerTasks])) as unknown[];
    const [innerResults, ...outerResults] = results;
    return total(inner, innerResults as unknown[]) + total(outer, outerResults);
  } catch {
    return FAILED;
  }
}

function* runAnyLoop(
  context: OrchestrationContext,
  leaves: readonly Leaf[],
  input: number,
): Steps<number> {
  const left = leaves.map((leaf) => ({ leaf, task: taskOf(context, leaf, input) }));
  let sum = 0;
  while (left.length > 0) {
    const winner = yield context.df.Task.any(left.map(({ task }) => task));
    const index = left.findIndex(({ task }) => task === winner);
    const [won] = left.splice(index, 1);
    if (won !== undefined) sum += settled(won.leaf, won.task);
  }
  return sum;
}

function* runAnyThenAll(
  context: OrchestrationContext,
  leaves: readonly Leaf[],
  input: number,
): Steps<number> {
  const tasks = leaves.map((leaf) => taskOf(context, leaf, input));
  const winner = yield context.df.Task.any(tasks);
  const index = tasks.indexOf(winner as Task);
  const first = settled(leaves[index] as Leaf, winner as Task);
  const restLeaves = leaves.filter((_, i) => i !== index);
  try {
    const results = yield context.df.Task.all(tasks.filter((_, i) => i !== index));
    return first === FAILED ? FAILED : first + total(restLeaves, results as unknown[]);
  } catch {
    return FAILED;
  }
}

function* runLocked(context: OrchestrationContext, n: number, key: string): Steps<number> {
  const own = new df.EntityId('sum', key);
  const shared = new df.EntityId('sum', 'shared');
  const lock = (yield context.df.lock(own, shared)) as { release(): void };
  const before = Number(yield context.df.callEntity(shared, 'add', 0));
  const first = Number(yield context.df.callEntity(own, 'add', n));
  const after = Number(yield context.df.callEntity(shared, 'add', n));
  lock.release();
  return first + (after - before);
}

beforeAll(async () => {
  host = await startTestHost();
});
afterAll(async () => {
  await host.dispose();
});

describe('random orchestrations', () => {
  it(`give the result of a direct evaluation (SEED=${seed}, PROGRAMS=${programs})`, async () => {
    process.stdout.write(`durable fuzz: SEED=${seed}\n`);
    const random = randomSource(seed);
    const cases = Array.from({ length: programs }, (_, i) => randomProgram(random, `p${i}`));
    const wrong: unknown[] = [];
    for (let from = 0; from < cases.length; from += 50) {
      const group = cases.slice(from, from + 50);
      const ids = await Promise.all(
        group.map((program) => host.start('program', { program, input: 1 })),
      );
      for (const [i, program] of group.entries()) {
        const status = await host.finished(ids[i] ?? '', 30_000);
        const found = status.runtimeStatus === 'Completed' ? status.output : FAILED;
        const expected = evaluate(program, 1);
        if (found !== expected) wrong.push({ program: from + i, expected, found, status });
      }
    }
    expect(wrong, `SEED=${seed}`).toEqual([]);
    host.expectNoErrors();
  }, 300_000);
});
