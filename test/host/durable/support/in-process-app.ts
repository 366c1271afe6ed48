import { randomUUID } from 'node:crypto';
import Module, { createRequire } from 'node:module';
import type * as DurableFunctions from 'durable-functions';
import {
  InvocationFailure,
  type Binding,
  type IndexedFunction,
  type InvocationRequest,
  type InvocationResult,
  type Invoker,
  type TypedData,
} from '../../../../local/host/contracts.ts';

/** The real SDK, loaded over a minimal core API; one per process, as in the real worker. */
export interface InProcessApp {
  readonly df: typeof DurableFunctions;
  /** All functions registered so far. */
  functions(): IndexedFunction[];
  readonly invoker: Invoker;
}

interface InvocationModel {
  getArguments(): Promise<{ context: unknown; inputs: unknown[] }>;
  invokeFunction(context: unknown, inputs: unknown[], handler: unknown): Promise<unknown>;
  getResponse(
    context: unknown,
    result: unknown,
  ): Promise<{ returnValue?: TypedData; outputData: { name: string; data: TypedData }[] }>;
}

interface ProgrammingModel {
  getInvocationModel(context: unknown): InvocationModel | Promise<InvocationModel>;
}

interface Metadata {
  readonly name: string;
  readonly bindings: Readonly<Record<string, Binding>>;
}

let loaded: InProcessApp | null = null;

/** Loads `durable-functions` on the first call; later calls return the same app. */
export function loadInProcessApp(): InProcessApp {
  loaded ??= createApp();
  return loaded;
}

function createApp(): InProcessApp {
  const registered = new Map<string, { metadata: Metadata; handler: unknown }>();
  let model: ProgrammingModel | null = null;
  injectCoreApi({
    version: '4.0.0',
    hostVersion: '4.0.0',
    setProgrammingModel: (value: ProgrammingModel) => void (model = value),
    getProgrammingModel: () => model,
    registerFunction(metadata: Metadata, handler: unknown) {
      registered.set(metadata.name, { metadata, handler });
      return { dispose: () => undefined };
    },
    registerHook: () => ({ dispose: () => undefined }),
    log: () => undefined,
    Disposable: class {
      dispose(): void {
        registered.clear();
      }
    },
  });
  const require = createRequire(import.meta.url);
  const df = require('durable-functions') as typeof DurableFunctions;
  return {
    df,
    functions: () => [...registered.values()].map(({ metadata }) => indexed(metadata)),
    invoker: {
      async invoke(request) {
        const entry = registered.get(request.fn.name);
        if (entry === undefined || model === null) throw new Error(`no ${request.fn.name}`);
        return invoke(model, entry, request);
      },
    },
  };
}

function injectCoreApi(api: unknown): void {
  const loader = Module as unknown as {
    _load(this: void, request: string, ...rest: unknown[]): unknown;
  };
  const original = loader._load;
  loader._load = (request, ...rest) =>
    request === '@azure/functions-core' ? api : original(request, ...rest);
}

function indexed(metadata: Metadata): IndexedFunction {
  const trigger = Object.entries(metadata.bindings).find(([, { type }]) => /trigger$/iu.test(type));
  if (trigger === undefined) throw new Error(`${metadata.name} has no trigger`);
  return {
    name: metadata.name,
    functionId: metadata.name,
    scriptFile: 'test',
    triggerName: trigger[0],
    trigger: trigger[1],
    bindings: metadata.bindings,
    disabled: false,
    retryOptions: undefined,
  };
}

async function invoke(
  model: ProgrammingModel,
  { metadata, handler }: { metadata: Metadata; handler: unknown },
  { fn, triggerData, triggerMetadata, traceParent = '' }: InvocationRequest,
): Promise<InvocationResult> {
  const invocationId = randomUUID();
  const invocation = await model.getInvocationModel({
    invocationId,
    metadata,
    state: 'invocation',
    log: () => undefined,
    request: {
      invocationId,
      functionId: fn.functionId,
      inputData: [{ name: fn.triggerName, data: triggerData }],
      triggerMetadata,
      traceContext: { traceParent, traceState: '', attributes: {} },
    },
  });
  const { context, inputs } = await invocation.getArguments();
  try {
    const rawResult = await invocation.invokeFunction(context, inputs, handler);
    const response = await invocation.getResponse(context, rawResult);
    return {
      invocationId,
      returnValue: response.returnValue,
      outputData: response.outputData,
      rawResult,
    };
  } catch (cause) {
    const { df } = context as { df?: { taskOrchestratorExecutor?: { actions: unknown } } };
    const rawActions = df?.taskOrchestratorExecutor?.actions;
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new InvocationFailure(message, { invocationId, rawActions, cause });
  }
}
