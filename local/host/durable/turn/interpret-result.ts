import { InvocationFailure, type InvocationResult } from '../../contracts.ts';
import { ActionType, type AtomicAction } from './actions.ts';
import { flattenActions } from './flatten-actions.ts';
import type { FailureDetails } from './history-events.ts';
import { quotedText } from './schedule-actions.ts';

/** How the orchestrator's code stands at the end of a turn; values are JSON text. */
export type Outcome =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'completed'; readonly output: string | null }
  | { readonly kind: 'continued'; readonly input: string | null }
  | {
      readonly kind: 'failed';
      readonly error: string;
      readonly failureDetails: FailureDetails | null;
    };

/** The answer of the SDK to one turn. */
export interface ReplayResult {
  /** All actions since the beginning, flattened; `null` when the SDK failed before reporting any. */
  readonly actions: readonly AtomicAction[] | null;
  /** JSON text; `null` leaves the stored status unchanged. */
  readonly customStatus: string | null;
  readonly outcome: Outcome;
}

const MARKER = '$OutOfProcData$:';

/** Reads the result of an orchestrator invocation that returned. */
export function interpretResult(result: InvocationResult): ReplayResult {
  const state = asRecord(result.rawResult) ?? asRecord(parsedReturnValue(result)) ?? {};
  const actions = flattenActions(state['actions']);
  const last = actions.at(-1);
  const isContinued = last?.actionType === ActionType.ContinueAsNew;
  let outcome: Outcome = { kind: 'waiting' };
  if (state['isDone'] === true) {
    outcome = isContinued
      ? { kind: 'continued', input: quotedText(last.input) }
      : { kind: 'completed', output: jsonOrNull(state['output']) };
  }
  return {
    actions: withoutContinueAsNew(actions),
    customStatus: jsonOrNull(state['customStatus']),
    outcome,
  };
}

/**
 * Reads the failure of an orchestrator invocation.
 *
 * The SDK packs its state behind a marker in the error's message. Without the marker the SDK itself
 * (or a hook, or a time limit) failed. Both mean that the orchestration failed.
 */
export function interpretFailure(failure: unknown): ReplayResult {
  const messages = messagesOf(failure);
  const packed = messages.find((message) => message.includes(MARKER));
  const state =
    packed === undefined
      ? null
      : asRecord(parseJson(packed.slice(packed.indexOf(MARKER) + MARKER.length)));
  const raw = failure instanceof InvocationFailure ? failure.rawActions : undefined;
  const list = raw ?? state?.['actions'];
  const error = state === null ? messages.at(-1) : state['error'];
  return {
    actions: list === undefined ? null : withoutContinueAsNew(flattenActions(list)),
    customStatus: jsonOrNull(state?.['customStatus']),
    outcome: {
      kind: 'failed',
      error: typeof error === 'string' ? error : '',
      failureDetails: failureDetailsOf(state?.['failureDetails']),
    },
  };
}

function withoutContinueAsNew(actions: readonly AtomicAction[]): AtomicAction[] {
  return actions.filter((action) => action.actionType !== ActionType.ContinueAsNew);
}

/** The failure's own message and those of its causes, outermost first. */
function messagesOf(failure: unknown): string[] {
  const messages: string[] = [];
  for (let at = failure; at instanceof Error && messages.length < 5; at = at.cause) {
    messages.push(at.message);
  }
  return messages.length > 0 ? messages : [String(failure)];
}

function failureDetailsOf(value: unknown): FailureDetails | null {
  const details = asRecord(value);
  if (details === null || typeof details['ErrorType'] !== 'string') return null;
  return { ErrorMessage: '', ...details, ErrorType: details['ErrorType'] };
}

function parsedReturnValue(result: InvocationResult): unknown {
  const value = result.returnValue;
  if (value === null || value === undefined) return null;
  return 'json' in value && typeof value.json === 'string' ? parseJson(value.json) : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | null {
  return typeof value === 'object' && value !== null ? { ...value } : null;
}

function jsonOrNull(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  return JSON.stringify(value) ?? null;
}
