import { errorMessage, errorStack, HostStartError } from '../app/errors.ts';
import { textOption } from '../app/indexing.ts';
import { parseRetryPolicy, withRetries } from '../app/retry.ts';
import type { Clock, HostLogger, IndexedFunction, Invoker, TypedData } from '../contracts.ts';
import type { HostStore, TimerRecord } from '../host-store.ts';
import { settledWithin } from '../settled-within.ts';
import { formatLocalTime, isSubMinute, parseSchedule, type Schedule } from './schedule.ts';

/**
 * How far the clock may stand before the last record and still count as the same clock. Within it an
 * occurrence that has run does not run again; beyond it the record is worthless and the schedule
 * begins anew, since waiting for the old time could take days.
 */
const BACKWARD_TOLERANCE_MS = 10 * 60_000;
/** The longest sleep, so that a clock that was set is noticed. Also keeps below setTimeout's 24.8 days. */
const MAX_SLEEP_MS = 30_000;

/** What a starting timer does first. */
export interface TimerPlan {
  readonly record: TimerRecord;
  readonly runNow: 'past-due' | 'startup' | 'no';
}

function hasClockGoneBack(record: TimerRecord, nowMs: number): boolean {
  return record.lastUpdatedMs - nowMs > BACKWARD_TOLERANCE_MS;
}

/** `lastUpdatedMs` is the base `nextMs` was computed from: that is how a changed schedule is noticed. */
function recordFrom(schedule: Schedule, lastMs: number, baseMs: number): TimerRecord {
  return { lastMs, nextMs: schedule.next(baseMs), lastUpdatedMs: baseMs };
}

/** Decides from the stored record whether an occurrence was missed while the host was down. */
export function planTimerStart(options: {
  readonly schedule: Schedule;
  readonly stored: TimerRecord | undefined;
  readonly nowMs: number;
  readonly runOnStartup: boolean;
}): TimerPlan {
  const { schedule, stored, nowMs } = options;
  const startup = options.runOnStartup ? 'startup' : 'no';
  if (stored === undefined || hasClockGoneBack(stored, nowMs)) {
    return { record: recordFrom(schedule, 0, nowMs), runNow: startup };
  }
  const expectedMs = schedule.next(stored.lastUpdatedMs);
  if (expectedMs !== stored.nextMs) {
    const base = expectedMs > nowMs ? stored.lastUpdatedMs : nowMs;
    return { record: recordFrom(schedule, stored.lastMs, base), runNow: startup };
  }
  return { record: stored, runNow: nowMs >= stored.nextMs ? 'past-due' : startup };
}

/** The record after a run that was due at `dueMs`; never an occurrence that has run already. */
export function recordAfterRun(
  schedule: Schedule,
  run: { readonly startedMs: number; readonly dueMs: number; readonly nowMs: number },
): TimerRecord {
  const wasSetBack = run.dueMs - run.nowMs > BACKWARD_TOLERANCE_MS;
  const baseMs = wasSetBack ? run.nowMs : Math.max(run.nowMs, run.dueMs);
  return recordFrom(schedule, run.startedMs, baseMs);
}

/** The timer's value as the worker protocol carries it; the library gives the app camelCase keys. */
export function timerPayload(record: TimerRecord | undefined, isPastDue: boolean): TypedData {
  const status =
    record === undefined
      ? null
      : {
          Last: formatLocalTime(record.lastMs),
          Next: formatLocalTime(record.nextMs),
          LastUpdated: formatLocalTime(record.lastUpdatedMs),
        };
  return {
    json: JSON.stringify({
      Schedule: { AdjustForDST: true },
      ScheduleStatus: status,
      IsPastDue: isPastDue,
    }),
  };
}

/** Parses a timer function's schedule. Throws {@link HostStartError} naming the function. */
export function timerSchedule(fn: IndexedFunction): Schedule {
  const text = textOption(fn.trigger, 'schedule');
  try {
    return parseSchedule(text);
  } catch (error) {
    throw new HostStartError(
      `Function "${fn.name}": the schedule "${text}" is wrong: ${errorMessage(error)}.`,
      error,
    );
  }
}

export interface TimerListenerOptions {
  readonly fn: IndexedFunction;
  readonly invoker: Invoker;
  readonly store: HostStore;
  readonly logger: HostLogger;
  readonly clock: Clock;
}

/** Runs one timer function at its times, one run after another. */
export class TimerListener {
  readonly #options: TimerListenerOptions;
  readonly #schedule: Schedule;
  readonly #stop = new AbortController();
  #isMonitored = false;
  #loop: Promise<void> = Promise.resolve();

  /** Throws {@link HostStartError} for a schedule that cannot be parsed. */
  constructor(options: TimerListenerOptions) {
    this.#options = options;
    this.#schedule = timerSchedule(options.fn);
  }

  start(): void {
    const { fn, store, clock } = this.#options;
    const nowMs = clock();
    this.#isMonitored = fn.trigger['useMonitor'] !== false && !isSubMinute(this.#schedule, nowMs);
    const plan = planTimerStart({
      schedule: this.#schedule,
      stored: this.#isMonitored ? store.readTimer(fn.name) : undefined,
      nowMs,
      runOnStartup: fn.trigger['runOnStartup'] === true,
    });
    this.#save(plan.record);
    this.#loop = this.#run(plan);
  }

  /** Fires no more and waits up to `drainMs` for a run in work. */
  async stop(drainMs: number): Promise<void> {
    this.#stop.abort();
    await settledWithin(this.#loop, drainMs);
  }

  async #run(plan: TimerPlan): Promise<void> {
    let record = plan.record;
    if (plan.runNow !== 'no') record = await this.#fire(record, plan.runNow === 'past-due');
    while (!this.#stop.signal.aborted) {
      record = await this.#waitUntilDue(record);
      if (this.#stop.signal.aborted) return;
      record = await this.#fire(record, false);
    }
  }

  async #waitUntilDue(due: TimerRecord): Promise<TimerRecord> {
    const { clock, logger, fn } = this.#options;
    let record = due;
    for (;;) {
      const nowMs = clock();
      if (this.#stop.signal.aborted || nowMs >= record.nextMs) return record;
      if (hasClockGoneBack(record, nowMs)) {
        record = recordFrom(this.#schedule, record.lastMs, nowMs);
        this.#save(record);
        logger.log('warn', 'timer_clock_went_back', {
          function: fn.name,
          next: formatLocalTime(record.nextMs),
        });
      }
      await this.#sleep(Math.min(MAX_SLEEP_MS, Math.max(1, record.nextMs - nowMs)));
    }
  }

  async #sleep(ms: number): Promise<void> {
    const { signal } = this.#stop;
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, ms);
      signal.addEventListener('abort', finish);
    });
  }

  /** A failing function never ends the schedule. The record is written after the run, so that a
   * host killed in between runs it again as past due. */
  async #fire(record: TimerRecord, isPastDue: boolean): Promise<TimerRecord> {
    const { fn, invoker, logger, clock } = this.#options;
    const startedMs = clock();
    const triggerData = timerPayload(this.#isMonitored ? record : undefined, isPastDue);
    try {
      const policy = parseRetryPolicy(fn.retryOptions);
      await withRetries(policy, this.#stop.signal, (retryContext) =>
        invoker.invoke({ fn, triggerData, triggerMetadata: {}, retryContext }),
      );
    } catch (error) {
      logger.log('error', 'timer_function_failed', {
        function: fn.name,
        message: errorMessage(error),
        stack: errorStack(error instanceof Error ? (error.cause ?? error) : error),
      });
    }
    // A run at start-up that came before its time leaves the due occurrence standing.
    const wasDue = startedMs >= record.nextMs;
    const next = wasDue
      ? recordAfterRun(this.#schedule, { startedMs, dueMs: record.nextMs, nowMs: clock() })
      : recordFrom(this.#schedule, startedMs, clock());
    this.#save(next);
    return next;
  }

  #save(record: TimerRecord): void {
    if (this.#isMonitored) this.#options.store.writeTimer(this.#options.fn.name, record);
  }
}
