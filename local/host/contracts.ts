/**
 * The seam between the parts of the local host.
 *
 * `app/` loads a Functions v4 app and runs one invocation; `http/`, `queues/` and `timers/` turn the
 * outside world into invocations; `durable/` turns histories into invocations. They meet only here.
 */

/** The worker protocol's value: exactly one key is set; `{}` means "no value". */
export type TypedData =
  | { readonly string: string }
  | { readonly json: string }
  | { readonly bytes: Buffer }
  | { readonly int: number }
  | { readonly double: number }
  | { readonly http: Readonly<Record<string, unknown>> }
  | Readonly<Record<string, never>>;

/** One input or output binding as the app registered it, with `%NAME%` already resolved. */
export interface Binding {
  readonly type: string;
  readonly direction: 'in' | 'out';
  readonly name: string;
  readonly [option: string]: unknown;
}

/** A function of the app after indexing. `bindings` is keyed by binding name (`$return` included). */
export interface IndexedFunction {
  readonly name: string;
  readonly functionId: string;
  readonly scriptFile: string;
  /** Key of the trigger in `bindings`. */
  readonly triggerName: string;
  readonly trigger: Binding;
  readonly bindings: Readonly<Record<string, Binding>>;
  readonly disabled: boolean;
  readonly retryOptions: unknown;
}

export interface InvocationRequest {
  readonly fn: IndexedFunction;
  /** The trigger's value; the invoker adds the inputs of other bindings (durable client). */
  readonly triggerData: TypedData;
  readonly triggerMetadata: Readonly<Record<string, TypedData>>;
  readonly invocationId?: string;
  readonly traceParent?: string;
  readonly retryContext?: unknown;
}

export interface InvocationResult {
  readonly invocationId: string;
  readonly returnValue: TypedData | null | undefined;
  readonly outputData: readonly { readonly name: string; readonly data: TypedData }[];
  /**
   * What the handler itself returned, before conversion. The durable engine needs it because action
   * identity, which settles a task yielded in two `any`, exists only here.
   */
  readonly rawResult: unknown;
}

/** Thrown by `Invoker.invoke` when the app's handler (or a hook) failed. */
export class InvocationFailure extends Error {
  readonly invocationId: string;
  /** `context.df.taskOrchestratorExecutor.actions` when the failed invocation was an orchestration. */
  readonly rawActions: unknown;

  constructor(
    message: string,
    details: { invocationId: string; rawActions?: unknown; cause: unknown },
  ) {
    super(message, { cause: details.cause });
    this.name = 'InvocationFailure';
    this.invocationId = details.invocationId;
    this.rawActions = details.rawActions;
  }
}

export interface Invoker {
  /** Runs one invocation; rejects with {@link InvocationFailure} when the handler throws or times out. */
  invoke(request: InvocationRequest): Promise<InvocationResult>;
}

export interface HostLogger {
  log(
    level: 'debug' | 'info' | 'warn' | 'error',
    event: string,
    fields?: Readonly<Record<string, unknown>>,
  ): void;
}

/** Milliseconds since the epoch; replaced in tests so that a clock can go backwards. */
export type Clock = () => number;

/** A request to the durable HTTP management API, without the base `/runtime/webhooks/durabletask`. */
export interface ManagementRequest {
  readonly method: string;
  /** Path after the base, beginning with `/`, still percent-encoded. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface ManagementResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON text, or empty. */
  readonly body: string;
}

/** The `extensions.durableTask` settings the engine honours, defaults applied. */
export interface DurableSettings {
  readonly hubName: string;
  readonly maxConcurrentActivityFunctions: number;
  readonly maxConcurrentOrchestratorFunctions: number;
  readonly maxConcurrentEntityFunctions: number;
  readonly maxOrchestrationActions: number;
  readonly overridableExistingInstanceStates: 'NonRunningStates' | 'AnyState';
}

export interface DurableRuntimeOptions {
  /** Folder of this host's state; the engine keeps `durable.sqlite` in it. */
  readonly dataDir: string;
  readonly functions: readonly IndexedFunction[];
  readonly invoker: Invoker;
  readonly settings: DurableSettings;
  /** `http://127.0.0.1:7071`, without a trailing slash; used in management URLs. */
  readonly origin: string;
  readonly logger: HostLogger;
  readonly clock: Clock;
}

export interface DurableRuntime {
  /** Opens the store, takes up unfinished work and starts dispatching. */
  start(): Promise<void>;
  /** Stops dispatching, waits up to `drainMs` for running work, closes the store. */
  stop(drainMs: number): Promise<void>;
  /** The JSON text given to `durableClient` bindings (FACTS-host 4.5). */
  clientInput(): string;
  manage(request: ManagementRequest): Promise<ManagementResponse>;
}
