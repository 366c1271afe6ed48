import type { Task } from 'durable-functions';
import { BugError } from '../kernel/errors.ts';
import { activityTask, subTask } from './call.ts';
import type { ActivityContract, OrchestrationContract } from './contract.ts';
import type { OrchestratorContext, Steps } from './context.ts';
import { unwrap } from './envelope.ts';

/** What became of one of many: its answer, or the error it ended with. */
export type Outcome<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: Error };

export interface FanOutOptions {
  /** How many run at once, at least 1. */
  readonly width: number;
}

/**
 * Runs an activity for each input, `width` at a time, and gives one outcome per input, in their order. One that
 * fails loses nothing of the others.
 *
 * It goes in waves: a wave's slowest holds up the next wave. A sliding window would need `Task.any` over tasks that
 * were yielded before, which schedules work twice on Azure (FACTS-host P4); where one slow target must not delay the
 * rest, give each target a lane of its own ({@link fanOutSubs}).
 */
export function* fanOut<Input, Output>(
  ctx: OrchestratorContext,
  contract: ActivityContract<Input, Output>,
  inputs: readonly NoInfer<Input>[],
  options: FanOutOptions,
): Steps<Outcome<Output>[]> {
  const start = (input: Input): Task => activityTask(ctx, contract, input);
  return yield* inWaves(ctx, contract, inputs, start, options);
}

/** As {@link fanOut}, for sub-orchestrations, each under its own instance id. */
export function* fanOutSubs<Input, Output, Status>(
  ctx: OrchestratorContext,
  contract: OrchestrationContract<Input, Output, Status>,
  starts: readonly { readonly instanceId: string; readonly input: NoInfer<Input> }[],
  options: FanOutOptions,
): Steps<Outcome<Output>[]> {
  const start = (item: (typeof starts)[number]): Task =>
    subTask(ctx, contract, item.input, item.instanceId);
  return yield* inWaves(ctx, contract, starts, start, options);
}

/** An activity or sub-orchestration that is about to run, for {@link settleTogether}. */
export interface Begun<T> {
  readonly task: Task;
  readonly contract: Parameters<typeof unwrap<T>>[0];
}

/** An activity for {@link settleTogether}. */
export function beginActivity<Input, Output>(
  ctx: OrchestratorContext,
  contract: ActivityContract<Input, Output>,
  input: NoInfer<Input>,
): Begun<Output> {
  return { task: activityTask(ctx, contract, input), contract };
}

/** A sub-orchestration for {@link settleTogether}, under an instance id of its own. */
export function beginSub<Input, Output, Status>(
  ctx: OrchestratorContext,
  contract: OrchestrationContract<Input, Output, Status>,
  input: NoInfer<Input>,
  instanceId: string,
): Begun<Output> {
  return { task: subTask(ctx, contract, input, instanceId), contract };
}

/** Runs work of two kinds, all of it at once, and gives one outcome for each. One that fails loses nothing of the others. */
export function* settleTogether<A, B>(
  ctx: OrchestratorContext,
  some: readonly Begun<A>[],
  others: readonly Begun<B>[],
): Steps<readonly [Outcome<A>[], Outcome<B>[]]> {
  const all = [...some, ...others];
  // The SDK never resolves an `all` of nothing.
  const raw =
    all.length === 0
      ? []
      : yield* settle(
          ctx,
          all.map(({ task }) => task),
        );
  const opened = <T>(begun: readonly Begun<T>[], from: number): Outcome<T>[] =>
    begun.map(({ contract }, index) => opening(contract, raw[from + index] as Outcome<unknown>));
  return [opened(some, 0), opened(others, some.length)];
}

/** The values when all succeeded; otherwise throws the first error, by position. */
export function valuesOf<T>(outcomes: readonly Outcome<T>[]): T[] {
  return outcomes.map((outcome) => {
    if (!outcome.ok) throw outcome.error;
    return outcome.value;
  });
}

function* inWaves<Item, Output>(
  ctx: OrchestratorContext,
  contract: Parameters<typeof unwrap<Output>>[0],
  items: readonly Item[],
  start: (item: Item) => Task,
  options: FanOutOptions,
): Steps<Outcome<Output>[]> {
  if (!Number.isInteger(options.width) || options.width < 1) {
    throw new BugError(`a fan-out of ${contract.name} needs a width of at least 1`);
  }
  const outcomes: Outcome<Output>[] = [];
  for (let from = 0; from < items.length; from += options.width) {
    const tasks = items.slice(from, from + options.width).map(start);
    for (const raw of yield* settle(ctx, tasks)) outcomes.push(opening(contract, raw));
  }
  return outcomes;
}

/**
 * Waits until every task of one wave has ended. `Task.all` ends with the first failure while others still run; those
 * are then waited for one by one. That is safe where a second `all` is not: a task yielded alone that was scheduled
 * before adds no action, and an `all` over tasks that have all ended would never resolve (FACTS-host P5).
 */
function* settle(ctx: OrchestratorContext, tasks: readonly Task[]): Steps<Outcome<unknown>[]> {
  const errors = new Map<Task, Error>();
  try {
    const results = (yield ctx.df.Task.all([...tasks])) as unknown[];
    return results.map((value) => ({ ok: true, value }));
  } catch {
    for (const task of tasks) {
      if (task.isCompleted && !task.isFaulted) continue;
      try {
        // One that has failed throws its error here at once.
        yield task;
      } catch (error) {
        errors.set(task, error instanceof Error ? error : new Error(String(error)));
      }
    }
  }
  return tasks.map((task) => {
    const error = errors.get(task);
    return error === undefined ? { ok: true, value: task.result } : { ok: false, error };
  });
}

function opening<T>(contract: Begun<T>['contract'], raw: Outcome<unknown>): Outcome<T> {
  if (!raw.ok) return raw;
  try {
    return { ok: true, value: unwrap(contract, raw.value) };
  } catch (error) {
    return { ok: false, error: error instanceof Error ? error : new Error(String(error)) };
  }
}
