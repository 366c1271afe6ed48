/** One operation for an entity; `input` is JSON text. */
export interface OperationMessage {
  readonly kind: 'op';
  readonly op: string;
  /** One-way: no reply is sent. */
  readonly signal: boolean;
  readonly input: string | null;
  /** Name of the reply event; `null` for signals. */
  readonly requestId: string | null;
  /** The calling orchestration; `null` when a client or an entity sent it. */
  readonly parentId: string | null;
  readonly parentExecution: string | null;
}

/** A request to lock `entityIds` one after the other; it is at `entityIds[position]`. */
export interface LockMessage {
  readonly kind: 'lock';
  readonly lockId: string;
  readonly entityIds: readonly string[];
  readonly position: number;
  readonly parentId: string;
  readonly parentExecution: string;
}

/** Gives up one entity of a lock. */
export interface ReleaseMessage {
  readonly kind: 'release';
  readonly lockId: string;
  readonly parentId: string;
}

export type EntityMessage = OperationMessage | LockMessage | ReleaseMessage;

/** What an operation's caller receives as the input of its reply event (FACTS: entity call). */
export function replyInput(result: string | null, isError: boolean): string {
  return JSON.stringify(isError ? { result, exceptionType: 'Error' } : { result });
}
