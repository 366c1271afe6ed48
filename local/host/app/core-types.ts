/**
 * The part of `@azure/functions-core` the library calls. The real package has no runtime code of its
 * own (the worker injects it), so its types are restated here, only as far as the host uses them.
 */
import type { TypedData } from '../contracts.ts';

export type CoreLogLevel =
  'trace' | 'debug' | 'information' | 'warning' | 'error' | 'critical' | 'none';

export type CoreLogCategory = 'user' | 'system' | 'customMetric';

export type HookName = 'preInvocation' | 'postInvocation' | 'appStart' | 'appTerminate' | 'log';

/** Hooks receive one mutable object; what they change on it is what the host goes on with. */
export type HookCallback = (context: Record<string, unknown>) => unknown;

export type FunctionCallback = (...args: unknown[]) => unknown;

export interface CoreBinding {
  readonly type?: string;
  readonly direction?: string;
  readonly name?: string;
  readonly [option: string]: unknown;
}

export interface FunctionMetadata {
  readonly name: string;
  readonly functionId?: string;
  readonly retryOptions?: unknown;
  readonly bindings: Readonly<Record<string, CoreBinding>>;
}

export interface CoreRequest {
  readonly invocationId: string;
  readonly functionId: string;
  readonly inputData: readonly { readonly name: string; readonly data: TypedData }[];
  readonly triggerMetadata: Readonly<Record<string, TypedData>>;
  readonly traceContext: {
    readonly traceParent: string;
    readonly traceState: string;
    readonly attributes: Readonly<Record<string, string>>;
  };
  readonly retryContext?: unknown;
}

export interface CoreInvocationContext {
  readonly invocationId: string;
  readonly metadata: { readonly name: string; readonly bindings: FunctionMetadata['bindings'] };
  readonly request: CoreRequest;
  /** The library reads it to warn about logging after the handler has ended. */
  state: 'preInvocationHooks' | 'invocation' | 'postInvocationHooks' | undefined;
  log(level: CoreLogLevel, category: CoreLogCategory, message: string): void;
}

export interface CoreResponse {
  readonly invocationId?: string;
  readonly outputData?: readonly { readonly name: string; readonly data: TypedData }[];
  readonly returnValue?: TypedData | null;
}

export interface InvocationModel {
  getArguments(): Promise<{ context: unknown; inputs: unknown[] }>;
  invokeFunction(context: unknown, inputs: unknown[], callback: FunctionCallback): Promise<unknown>;
  getResponse(context: unknown, result: unknown): Promise<CoreResponse>;
}

export interface ProgrammingModel {
  readonly name: string;
  readonly version: string;
  getInvocationModel(context: CoreInvocationContext): InvocationModel;
  getCapabilities?(
    defaults: Record<string, string>,
  ): Promise<Record<string, string>> | Record<string, string>;
}
