import Module, { registerHooks } from 'node:module';

const CORE_MODULE = '@azure/functions-core';
const CORE_URL = 'shardline-host:functions-core';
const CORE_SYMBOL = Symbol.for('shardline.host.functions-core');

interface ModuleInternals {
  _load(request: string, parent: unknown, isMain: boolean): unknown;
}

/**
 * Makes `@azure/functions-core` resolve to `api` in this process. Call it before the app is loaded.
 *
 * The library is CommonJS even in ESM apps, so patching the CommonJS loader serves both; the
 * synchronous hooks add ESM bundles that import the module by its own name. The asynchronous
 * `module.register()` must not be used: it gives CommonJS imported from ESM a private `require`,
 * which goes past the patch.
 */
export function injectCoreApi(api: Readonly<Record<string, unknown>>): void {
  const internals = Module as unknown as ModuleInternals;
  const load = internals._load.bind(Module);
  internals._load = (request, parent, isMain) =>
    request === CORE_MODULE ? api : load(request, parent, isMain);

  Reflect.set(globalThis, CORE_SYMBOL, api);
  const names = Object.keys(api).map((name) => `export const ${name} = api.${name};`);
  const source = [
    `const api = globalThis[Symbol.for('${CORE_SYMBOL.description}')];`,
    'export default api;',
    ...names,
  ].join('\n');
  registerHooks({
    resolve: (specifier, context, next) =>
      specifier === CORE_MODULE
        ? { url: CORE_URL, format: 'module', shortCircuit: true }
        : next(specifier, context),
    load: (url, context, next) =>
      url === CORE_URL ? { format: 'module', source, shortCircuit: true } : next(url, context),
  });
}
