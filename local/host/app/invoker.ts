import { randomUUID } from 'node:crypto';
import {
  InvocationFailure,
  type Binding,
  type IndexedFunction,
  type InvocationRequest,
  type InvocationResult,
  type Invoker,
  type TypedData,
} from '../contracts.ts';
import type { LineLogger } from '../logger.ts';
import { settledWithin } from '../settled-within.ts';
import type { AppRegistry } from './core-api.ts';
import type {
  CoreInvocationContext,
  CoreLogCategory,
  CoreLogLevel,
  CoreResponse,
  InvocationModel,
  ProgrammingModel,
} from './core-types.ts';
import { errorMessage, isRecord } from './errors.ts';

/** What a queue (or other) output binding receives after the handler has returned. */
export interface OutputRequest {
  readonly fn: IndexedFunction;
  readonly response: CoreResponse;
  readonly triggerMetadata: Readonly<Record<string, TypedData>>;
  readonly triggerData: TypedData;
}

export interface InvokerOptions {
  readonly registry: AppRegistry;
  readonly model: ProgrammingModel;
  readonly logger: LineLogger;
  /** Undefined means no limit. */
  readonly timeoutMs: number | undefined;
  /** The value of an input binding that is not the trigger. */
  readonly resolveInput: (binding: Binding) => TypedData;
  readonly writeOutputs: (request: OutputRequest) => Promise<void>;
}

/** The invoker plus what shutting down needs. */
export interface TrackingInvoker extends Invoker {
  /** Number of invocations that have begun and not ended. */
  readonly running: () => number;
  /** Resolves when nothing runs, or after `timeoutMs`; tells which. */
  drain(timeoutMs: number): Promise<boolean>;
}

const LEVELS: Readonly<Record<CoreLogLevel, 'debug' | 'info' | 'warn' | 'error' | undefined>> = {
  trace: 'debug',
  debug: 'debug',
  information: 'info',
  warning: 'warn',
  error: 'error',
  critical: 'error',
  none: undefined,
};

/** Prints a line the library passed on; `customMetric` and level `none` are dropped. */
export function writeCoreLog(
  logger: LineLogger,
  line: { level: CoreLogLevel; category: CoreLogCategory; message: string; fn?: string },
): void {
  const level = LEVELS[line.level];
  if (level === undefined || line.category === 'customMetric') return;
  if (line.category === 'system') logger.log(level, 'worker', { message: line.message });
  else logger.app(level, line.message, line.fn);
}

/** Runs single invocations through the programming model and hooks of the loaded app. */
export function createInvoker(options: InvokerOptions): TrackingInvoker {
  const running = new Set<Promise<unknown>>();
  return {
    running: () => running.size,
    async invoke(request) {
      const invocation = new Invocation(options, request);
      const work = withTimeout(invocation, options.timeoutMs);
      running.add(work);
      try {
        return await work;
      } finally {
        running.delete(work);
      }
    },
    async drain(timeoutMs) {
      const deadline = Date.now() + timeoutMs;
      while (running.size > 0 && Date.now() < deadline) {
        await settledWithin(Promise.allSettled(running), deadline - Date.now());
      }
      return running.size === 0;
    },
  };
}

function formatTimeout(timeoutMs: number): string {
  return new Date(timeoutMs).toISOString().slice(11, 19);
}

/** A handler cannot be killed in this process: past the timeout its result is ignored. */
async function withTimeout(
  invocation: Invocation,
  timeoutMs: number | undefined,
): Promise<InvocationResult> {
  if (timeoutMs === undefined) return invocation.run();
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const text = `Timeout value of ${formatTimeout(timeoutMs)} was exceeded by function: ${invocation.functionName}`;
      reject(invocation.failure(new Error(text)));
    }, timeoutMs);
  });
  try {
    return await Promise.race([invocation.run(), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** One run of one function. */
class Invocation {
  readonly #options: InvokerOptions;
  readonly #request: InvocationRequest;
  readonly #id: string;
  readonly #core: CoreInvocationContext;
  readonly #hookData: Record<string, unknown> = {};
  #context: unknown;

  constructor(options: InvokerOptions, request: InvocationRequest) {
    this.#options = options;
    this.#request = request;
    this.#id = request.invocationId ?? randomUUID();
    this.#core = this.#createCoreContext();
  }

  get functionName(): string {
    return this.#request.fn.name;
  }

  async run(): Promise<InvocationResult> {
    try {
      const model = this.#options.model.getInvocationModel(this.#core);
      const { context, inputs } = await model.getArguments();
      this.#context = context;
      const result = await this.#runHandler(model, inputs);
      const response = await model.getResponse(context, result);
      await this.#options.writeOutputs({
        fn: this.#request.fn,
        response,
        triggerMetadata: this.#request.triggerMetadata,
        triggerData: this.#request.triggerData,
      });
      return {
        invocationId: this.#id,
        returnValue: response.returnValue,
        outputData: response.outputData ?? [],
        rawResult: result,
      };
    } catch (error) {
      throw this.failure(error);
    }
  }

  failure(error: unknown): InvocationFailure {
    const df = isRecord(this.#context) ? this.#context['df'] : undefined;
    const executor = isRecord(df) ? df['taskOrchestratorExecutor'] : undefined;
    return new InvocationFailure(errorMessage(error), {
      invocationId: this.#id,
      rawActions: isRecord(executor) ? executor['actions'] : undefined,
      cause: error,
    });
  }

  async #runHandler(model: InvocationModel, inputs: unknown[]): Promise<unknown> {
    const { registry } = this.#options;
    const callback = registry.callback(this.#request.fn.functionId);
    if (callback === undefined) throw new Error(`Function "${this.functionName}" is not loaded.`);
    const pre = { ...this.#hookContext(inputs), functionCallback: callback };
    this.#core.state = 'preInvocationHooks';
    await registry.hooks.run('preInvocation', pre);

    const post = {
      ...this.#hookContext(pre.inputs),
      result: undefined as unknown,
      error: undefined as unknown,
    };
    this.#core.state = 'invocation';
    try {
      post.result = await model.invokeFunction(this.#context, pre.inputs, pre.functionCallback);
    } catch (error) {
      // Hooks tell success from failure by `error`, so a thrown null or undefined becomes an Error.
      post.error = error ?? new Error(`The handler threw ${String(error)}.`);
    }
    this.#core.state = 'postInvocationHooks';
    await registry.hooks.run('postInvocation', post);
    if (post.error !== null && post.error !== undefined) throw post.error;
    return post.result;
  }

  #hookContext(inputs: unknown[]) {
    return {
      hookData: this.#hookData,
      appHookData: this.#options.registry.hooks.appHookData,
      invocationContext: this.#context,
      inputs,
    };
  }

  #createCoreContext(): CoreInvocationContext {
    const { fn, traceParent, retryContext } = this.#request;
    return {
      invocationId: this.#id,
      metadata: { name: fn.name, bindings: fn.bindings },
      state: undefined,
      request: {
        invocationId: this.#id,
        functionId: fn.functionId,
        inputData: this.#inputData(),
        triggerMetadata: this.#request.triggerMetadata,
        traceContext: { traceParent: traceParent ?? '', traceState: '', attributes: {} },
        ...(retryContext === undefined ? {} : { retryContext }),
      },
      log: (level, category, message) => this.#log(level, category, message),
    };
  }

  #inputData(): { name: string; data: TypedData }[] {
    const { fn, triggerData } = this.#request;
    const others = Object.entries(fn.bindings)
      .filter(([key, binding]) => binding.direction === 'in' && key !== fn.triggerName)
      .map(([name, binding]) => ({ name, data: this.#options.resolveInput(binding) }));
    return [{ name: fn.triggerName, data: triggerData }, ...others];
  }

  #log(level: CoreLogLevel, category: CoreLogCategory, message: string): void {
    const hooks = this.#options.registry.hooks;
    const context = {
      level,
      message,
      category,
      invocationContext: this.#context,
      hookData: this.#hookData,
      appHookData: hooks.appHookData,
    };
    try {
      hooks.runLog(context);
    } catch (error) {
      this.#options.logger.log('error', 'log_hook_failed', { message: errorMessage(error) });
    }
    writeCoreLog(this.#options.logger, {
      level: context.level,
      category,
      message: context.message,
      fn: this.functionName,
    });
  }
}
