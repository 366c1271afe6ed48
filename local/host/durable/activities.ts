import { setTimeout as delay } from 'node:timers/promises';
import { InvocationFailure, type TypedData } from '../contracts.ts';
import { runHttpActivity } from './call-http.ts';
import type { Engine } from './engine.ts';
import { postMessage } from './instances/post-message.ts';
import type { PendingActivity } from './store/work-store.ts';
import {
  EventType,
  type FailureDetails,
  type FailureFields,
  type IncomingEvent,
} from './turn/history-events.ts';

/** Runs activities and records their results. */
export interface ActivityRunner {
  /** Runs one activity. Never rejects: a failure is a result. */
  run(activity: PendingActivity): Promise<void>;
}

/** Pause before a result is written again after an error of the store, such as a full disk. */
const ERROR_PAUSE_MS = 1000;

type Outcome = { readonly result: string } | { readonly failure: FailureFields };

/**
 * Creates the runner. An activity is removed from the store together with the posting of its result, so that
 * it runs at least once and is answered exactly once.
 */
export function createActivityRunner(engine: Engine): ActivityRunner {
  async function recordResult(activity: PendingActivity, outcome: Outcome): Promise<void> {
    await engine.commitSoon((wakes) => {
      if (!engine.work.finishActivity(activity.seq)) return;
      const { instanceId, executionId } = activity;
      const event = completion(activity.taskId, outcome);
      postMessage(engine, wakes, { instanceId, executionId, kind: 'completion', event });
    });
  }

  return {
    async run(activity) {
      if (engine.closed.aborted || !engine.work.isPending(activity.seq)) return;
      const outcome = await execute(engine, activity);
      while (!engine.closed.aborted) {
        engine.probe.reach('activity.ran');
        try {
          await recordResult(activity, outcome);
          return;
        } catch (error) {
          const { instanceId, name } = activity;
          engine.logger.log('error', 'durable.result_not_recorded', { instanceId, name, error });
          await delay(ERROR_PAUSE_MS);
        }
      }
    },
  };
}

function completion(taskId: number, outcome: Outcome): IncomingEvent {
  if ('result' in outcome) {
    return {
      EventType: EventType.TaskCompleted,
      EventId: -1,
      TaskScheduledId: taskId,
      Result: outcome.result,
    };
  }
  return {
    EventType: EventType.TaskFailed,
    EventId: -1,
    TaskScheduledId: taskId,
    ...outcome.failure,
  };
}

async function execute(engine: Engine, activity: PendingActivity): Promise<Outcome> {
  if (activity.kind === 'http') return runHttpActivity(activity.input ?? '{}', engine.closed);
  const fn = engine.functions.activity(activity.name);
  if (fn === undefined) {
    return { failure: activityFailure(activity.name, new Error('the function no longer exists')) };
  }
  const data: TypedData = activity.input === null ? {} : { string: activity.input };
  const traceParent = engine.instances.traceParent(activity.instanceId);
  try {
    const { returnValue } = await engine.invoker.invoke({
      fn,
      triggerData: data,
      triggerMetadata: { instanceId: { string: activity.instanceId }, data },
      ...(traceParent === undefined ? {} : { traceParent }),
    });
    return { result: resultText(returnValue) };
  } catch (error) {
    return { failure: activityFailure(activity.name, error) };
  }
}

/** JSON text of what an activity returned; bytes become base64, as in Azure. */
export function resultText(value: TypedData | null | undefined): string {
  if (value === null || value === undefined) return 'null';
  if ('json' in value && typeof value.json === 'string') return value.json;
  if ('string' in value) return JSON.stringify(value.string);
  if ('int' in value) return JSON.stringify(value.int);
  if ('double' in value) return JSON.stringify(value.double);
  if ('bytes' in value && Buffer.isBuffer(value.bytes)) {
    return JSON.stringify(value.bytes.toString('base64'));
  }
  return 'null';
}

/**
 * Describes a failed activity: always as `Reason` and `Details`; also as `FailureDetails` when the
 * app's exception properties provider has made the error's message such a record.
 */
export function activityFailure(name: string, error: unknown): FailureFields {
  const cause =
    error instanceof InvocationFailure && error.cause !== undefined ? error.cause : error;
  const message = cause instanceof Error ? cause.message : String(cause);
  const stack = cause instanceof Error ? (cause.stack ?? '') : '';
  const details = failureDetails(message, stack);
  return {
    Reason: `Activity function '${name}' failed: ${details?.ErrorMessage ?? message}`,
    Details: stack,
    ...(details === null ? {} : { FailureDetails: details }),
  };
}

function failureDetails(message: string, stack: string): FailureDetails | null {
  if (!message.startsWith('{')) return null;
  let parsed: unknown;
  try {
    parsed = JSON.parse(message);
  } catch {
    return null;
  }
  if (typeof parsed !== 'object' || parsed === null) return null;
  const fields: Readonly<Record<string, unknown>> = { ...parsed };
  if (typeof fields['errorType'] !== 'string' || typeof fields['errorMessage'] !== 'string') {
    return null;
  }
  return {
    ErrorType: fields['errorType'],
    ErrorMessage: fields['errorMessage'],
    StackTrace: typeof fields['stackTrace'] === 'string' ? fields['stackTrace'] : stack,
    IsNonRetriable: fields['isNonRetriable'] === true,
    ...(fields['properties'] === undefined ? {} : { Properties: fields['properties'] }),
  };
}
