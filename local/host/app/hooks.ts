import type { HookCallback, HookName } from './core-types.ts';

const HOOK_NAMES: ReadonlySet<string> = new Set<HookName>([
  'preInvocation',
  'postInvocation',
  'appStart',
  'appTerminate',
  'log',
]);

function isHookName(name: string): name is HookName {
  return HOOK_NAMES.has(name);
}

/** The hooks an app registered, run in the order of registration. */
export class HookRegistry {
  readonly #hooks = new Map<HookName, HookCallback[]>();
  /** Shared by all hooks of the app for its whole life (`context.appHookData`). */
  readonly appHookData: Record<string, unknown> = {};

  /**
   * Adds a hook and returns the function that removes it.
   * Throws a `RangeError` marked as a system error for an unknown name: the library tests for that mark.
   */
  add(name: string, callback: HookCallback): () => void {
    if (!isHookName(name)) {
      throw Object.assign(new RangeError(`Unrecognized hook "${name}"`), {
        isAzureFunctionsSystemError: true,
      });
    }
    const list = this.#hooks.get(name) ?? [];
    this.#hooks.set(name, [...list, callback]);
    return () => {
      this.#hooks.set(
        name,
        (this.#hooks.get(name) ?? []).filter((entry) => entry !== callback),
      );
    };
  }

  /** Awaits the hooks one after another; the first throw ends the row and reaches the caller. */
  async run(name: Exclude<HookName, 'log'>, context: Record<string, unknown>): Promise<void> {
    for (const hook of this.#hooks.get(name) ?? []) await hook(context);
  }

  /** Log hooks are synchronous, since `context.log` is. */
  runLog(context: Record<string, unknown>): void {
    for (const hook of this.#hooks.get('log') ?? []) hook(context);
  }
}
