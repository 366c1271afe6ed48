/** `ActionType` of durable-functions 3.5.0. */
export const ActionType = {
  CallActivity: 0,
  CallActivityWithRetry: 1,
  CallSubOrchestrator: 2,
  CallSubOrchestratorWithRetry: 3,
  ContinueAsNew: 4,
  CreateTimer: 5,
  WaitForExternalEvent: 6,
  CallEntity: 7,
  CallHttp: 8,
  SignalEntity: 9,
  WhenAny: 11,
  WhenAll: 12,
  LockEntities: 13,
  ReleaseEntities: 14,
} as const;

/** `RetryOptions` of the SDK; times in ms. */
export interface RetryOptions {
  readonly firstRetryIntervalInMilliseconds: number;
  readonly maxNumberOfAttempts: number;
  readonly backoffCoefficient?: number;
  readonly maxRetryIntervalInMilliseconds?: number;
  readonly retryTimeoutInMilliseconds?: number;
}

export interface ActivityAction {
  readonly actionType: typeof ActionType.CallActivity | typeof ActionType.CallActivityWithRetry;
  readonly functionName: string;
  /** Strings arrive JSON-quoted, everything else raw. */
  readonly input?: unknown;
  readonly retryOptions?: RetryOptions;
}

export interface SubOrchestratorAction {
  readonly actionType:
    typeof ActionType.CallSubOrchestrator | typeof ActionType.CallSubOrchestratorWithRetry;
  readonly functionName: string;
  readonly instanceId?: string;
  /** Raw value, strings included. */
  readonly input?: unknown;
  readonly version?: string;
  readonly retryOptions?: RetryOptions;
}

export interface ContinueAsNewAction {
  readonly actionType: typeof ActionType.ContinueAsNew;
  /** Strings arrive JSON-quoted, everything else raw. */
  readonly input?: unknown;
}

export interface TimerAction {
  readonly actionType: typeof ActionType.CreateTimer;
  /** A `Date` in process, ISO text after a trip through JSON. */
  readonly fireAt: Date | string;
  readonly isCanceled: boolean;
}

export interface WaitAction {
  readonly actionType: typeof ActionType.WaitForExternalEvent;
  readonly externalEventName: string;
}

export interface EntityAction {
  readonly actionType: typeof ActionType.CallEntity | typeof ActionType.SignalEntity;
  /** `@name@key`. */
  readonly instanceId: string;
  readonly operation: string;
  /** Raw value, strings included. */
  readonly input?: unknown;
}

/** The request of `callHttp`. */
export interface HttpRequestOptions {
  readonly method: string;
  readonly uri: string;
  readonly content?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly tokenSource?: unknown;
  readonly asynchronousPatternEnabled?: boolean;
}

export interface HttpAction {
  readonly actionType: typeof ActionType.CallHttp;
  readonly httpRequest: HttpRequestOptions;
}

export interface LockAction {
  readonly actionType: typeof ActionType.LockEntities;
  readonly lockSet: readonly { readonly name: string; readonly key: string }[];
  readonly lockRequestId: string;
}

export interface ReleaseAction {
  readonly actionType: typeof ActionType.ReleaseEntities;
}

export interface CompoundAction {
  readonly actionType: typeof ActionType.WhenAll | typeof ActionType.WhenAny;
  readonly compoundActions: readonly Action[];
}

/** An action that stands for one piece of work. */
export type AtomicAction =
  | ActivityAction
  | SubOrchestratorAction
  | ContinueAsNewAction
  | TimerAction
  | WaitAction
  | EntityAction
  | HttpAction
  | LockAction
  | ReleaseAction;

export type Action = AtomicAction | CompoundAction;

/**
 * The text by which an action is recognised when the orchestrator is replayed: its type and the name
 * of what it calls. Inputs are left out, as in Azure: they may legitimately differ in formatting.
 */
export function describeAction(action: AtomicAction): string {
  switch (action.actionType) {
    case ActionType.CallActivity:
    case ActionType.CallActivityWithRetry:
      return `activity ${action.functionName}`;
    case ActionType.CallSubOrchestrator:
    case ActionType.CallSubOrchestratorWithRetry:
      return `sub-orchestration ${action.functionName}`;
    case ActionType.ContinueAsNew:
      return 'continue-as-new';
    case ActionType.CreateTimer:
      return 'timer';
    case ActionType.WaitForExternalEvent:
      return `external event ${action.externalEventName}`;
    case ActionType.CallEntity:
      return `entity call ${action.instanceId} ${action.operation}`;
    case ActionType.SignalEntity:
      return `entity signal ${action.instanceId} ${action.operation}`;
    case ActionType.CallHttp:
      return `http ${action.httpRequest.method}`;
    case ActionType.LockEntities:
      return 'entity lock';
    case ActionType.ReleaseEntities:
      return 'entity release';
  }
}
