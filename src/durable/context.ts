import type { DurableOrchestrationContext, Task } from 'durable-functions';
import type { LogFields, Logger, LogLevel } from '../kernel/logger.ts';
import type { OrchestrationContract } from './contract.ts';
import { checked } from './envelope.ts';

/** What an orchestrator is given. Everything here is safe to replay. */
export interface OrchestratorContext {
  readonly df: DurableOrchestrationContext;
  /** Writes only while new history is made, so that a replay does not repeat a line. */
  readonly logger: Logger;
}

/** A generator that waits by yielding durable tasks. Use it with `yield*`, which gives its result a type. */
export type Steps<Result> = Generator<Task, Result, unknown>;

/** What an orchestrator returns after {@link continueAsNew}: this execution has no result. */
export const CONTINUED = Symbol('continued as new');
export type Continued = typeof CONTINUED;

/**
 * Starts the orchestration again with a new input and an empty history; the orchestrator must return what this
 * returns. Use it in loops after a fixed number of steps, with nothing still running.
 */
export function continueAsNew<Input, Output, Status>(
  ctx: OrchestratorContext,
  contract: OrchestrationContract<Input, Output, Status>,
  input: Input,
): Continued {
  ctx.df.continueAsNew(checked(contract.name, 'input', contract.input, input));
  return CONTINUED;
}

/** Waits `ms` by a durable timer. */
export function* sleepFor(ctx: OrchestratorContext, ms: number): Steps<void> {
  yield ctx.df.createTimer(new Date(nowMs(ctx) + ms));
}

/** External events of one name, for one execution of an orchestration. */
export interface EventInbox {
  /** The next event that has come, without waiting; undefined when there is none, or none was ever waited for. */
  poll(): { readonly data: unknown } | undefined;
  /** Waits for the next event until `untilMs` (the orchestration's clock). Undefined: none came, all were taken. */
  wait(untilMs: number): Steps<{ readonly data: unknown } | undefined>;
}

/**
 * Makes external events safe to wait for again and again. Each wait races a new timer with a new event task, because
 * a task may be in one `any` only; the timer is cancelled when it loses, because an open one holds up the end. An
 * event task that lost stays first in line (the SDK serves the latest waiter) and gets what comes during later
 * activities, so it is kept and looked at again instead of being forgotten with its event (FACTS-host 5.3, 5.7, 9).
 */
export function eventInbox(ctx: OrchestratorContext, name: string): EventInbox {
  /** Lost their race, latest last: the order in which events reach them is from the end. */
  let waiters: Task[] = [];
  const poll = (): { readonly data: unknown } | undefined => {
    const task = waiters.findLast((waiter) => waiter.isCompleted);
    if (task === undefined) return undefined;
    waiters = waiters.filter((waiter) => waiter !== task);
    return { data: task.result };
  };
  return {
    poll,
    *wait(untilMs) {
      const come = poll();
      if (come !== undefined) return come;
      const timer = ctx.df.createTimer(new Date(untilMs));
      const event = ctx.df.waitForExternalEvent(name);
      const winner = yield ctx.df.Task.any([timer, event]);
      if (winner === timer) {
        waiters.push(event);
        return undefined;
      }
      timer.cancel();
      return { data: event.result };
    },
  };
}

/** The orchestration's own time, milliseconds since 1970: the same at each replay. */
export function nowMs(ctx: OrchestratorContext): number {
  return new Date(ctx.df.currentUtcDateTime).getTime();
}

/** Publishes the custom status, visible after the next yield. */
export function setStatus<Input, Output, Status>(
  ctx: OrchestratorContext,
  contract: OrchestrationContract<Input, Output, Status>,
  status: NoInfer<Status>,
): void {
  const value =
    contract.status === undefined
      ? status
      : checked(contract.name, 'status', contract.status, status);
  ctx.df.setCustomStatus(value);
}

/** A logger that is silent while `ctx` replays. */
export function replaySafeLogger(
  df: Pick<DurableOrchestrationContext, 'isReplaying'>,
  logger: Logger,
): Logger {
  return {
    log: (level: LogLevel, event: string, fields?: LogFields) => {
      if (!df.isReplaying) logger.log(level, event, fields);
    },
    with: (fields) => replaySafeLogger(df, logger.with(fields)),
  };
}
