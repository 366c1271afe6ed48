import { HookRegistry } from './hooks.ts';
import type {
  CoreLogCategory,
  CoreLogLevel,
  FunctionCallback,
  FunctionMetadata,
  HookCallback,
  ProgrammingModel,
} from './core-types.ts';

export interface RegisteredFunction {
  readonly metadata: FunctionMetadata;
  readonly functionId: string;
  readonly scriptFile: string;
  readonly callback: FunctionCallback;
}

/** `Disposable` of the core API; `dispose` acts once. */
class Disposable {
  #action: (() => unknown) | undefined;

  constructor(action: () => unknown) {
    this.#action = action;
  }

  static from(...parts: readonly { dispose(): unknown }[]): Disposable {
    return new Disposable(() => {
      for (const part of parts) part.dispose();
    });
  }

  dispose(): unknown {
    const action = this.#action;
    this.#action = undefined;
    return action?.();
  }
}

/** What one app registers while it loads. There is one per process: the library caches the core API for ever. */
export class AppRegistry {
  readonly hooks = new HookRegistry();
  readonly #functions = new Map<string, RegisteredFunction>();
  #model: ProgrammingModel | undefined;
  #locked = false;
  /** Basename of the entry file being loaded, for `scriptFile`. */
  currentEntryPoint = 'unknown';

  get functions(): readonly RegisteredFunction[] {
    return [...this.#functions.values()];
  }

  get model(): ProgrammingModel | undefined {
    return this.#model;
  }

  callback(functionId: string): FunctionCallback | undefined {
    return this.#functions.get(functionId)?.callback;
  }

  setModel(model: ProgrammingModel): void {
    this.#model = model;
  }

  register(metadata: FunctionMetadata, callback: FunctionCallback): Disposable {
    if (this.#locked) {
      throw new Error('A function can only be registered during app startup.');
    }
    const functionId = metadata.functionId ?? metadata.name;
    if (this.#functions.has(functionId)) {
      throw new Error(`A function with id "${functionId}" has already been registered.`);
    }
    const scriptFile = this.currentEntryPoint;
    this.#functions.set(functionId, { metadata, functionId, scriptFile, callback });
    return new Disposable(() => this.#functions.delete(functionId));
  }

  /** After indexing the set of functions is fixed. */
  lock(): void {
    this.#locked = true;
  }
}

export type CoreLog = (level: CoreLogLevel, category: CoreLogCategory, message: string) => void;

/** The versions an app can read; the worker's number decides nothing, it is shown in logs only. */
export const HOST_VERSION = '4.1037.0';

/**
 * The object the library receives for `require('@azure/functions-core')`.
 * It must stay the same object for the life of the process.
 */
export function createCoreApi(registry: AppRegistry, log: CoreLog): Record<string, unknown> {
  return {
    version: '3.9.1',
    hostVersion: HOST_VERSION,
    Disposable,
    log,
    setProgrammingModel: (model: ProgrammingModel) => registry.setModel(model),
    getProgrammingModel: () => registry.model,
    registerFunction: (metadata: FunctionMetadata, callback: FunctionCallback) =>
      registry.register(metadata, callback),
    registerHook: (name: string, callback: HookCallback) =>
      new Disposable(registry.hooks.add(name, callback)),
  };
}
