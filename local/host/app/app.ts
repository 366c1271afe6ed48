import { Server } from 'node:http';
import type { IndexedFunction } from '../contracts.ts';
import type { LineLogger } from '../logger.ts';
import { AppRegistry, createCoreApi } from './core-api.ts';
import type { ProgrammingModel } from './core-types.ts';
import { errorMessage, HostStartError } from './errors.ts';
import { indexFunctions } from './indexing.ts';
import { injectCoreApi } from './injection.ts';
import { writeCoreLog } from './invoker.ts';
import { loadApp } from './loader.ts';
import { onLoopback } from './loopback.ts';

/** An app after indexing, ready to be invoked. */
export interface LoadedApp {
  readonly registry: AppRegistry;
  readonly model: ProgrammingModel;
  readonly functions: readonly IndexedFunction[];
  /** The library's own server when the app enabled HTTP streaming. */
  readonly streaming: Server | undefined;
  /** Runs the `appTerminate` hooks; a failing hook is logged, since the host stops anyway. */
  terminate(): Promise<void>;
}

let loadedInThisProcess = false;

/**
 * Loads and indexes the app of `appDir` in the order of the Functions worker: load, `appStart`, capabilities, lock.
 * Only one app fits in a process, because the library and Node's module cache are process-global.
 * Throws {@link HostStartError} when the app cannot be loaded, indexed or started.
 */
export async function openApp(options: {
  readonly appDir: string;
  readonly logger: LineLogger;
  /** host.json's `functions`. */
  readonly only: ReadonlySet<string> | undefined;
}): Promise<LoadedApp> {
  if (loadedInThisProcess) throw new HostStartError('This process has already loaded an app.');
  loadedInThisProcess = true;
  const { appDir, logger } = options;
  const registry = new AppRegistry();
  injectCoreApi(
    createCoreApi(registry, (level, category, message) =>
      writeCoreLog(logger, { level, category, message }),
    ),
  );
  await loadApp(appDir, registry);
  const functions = indexFunctions(registry, { env: process.env, only: options.only });
  const { hooks } = registry;
  const appContext = () => ({ appHookData: hooks.appHookData, hookData: {} });
  try {
    await hooks.run('appStart', { ...appContext(), functionAppDirectory: appDir });
  } catch (error) {
    throw new HostStartError(`An appStart hook failed: ${errorMessage(error)}`, error);
  }
  const model = registry.model;
  if (model === undefined) throw new HostStartError('The app set no programming model.');
  const streaming = await openStreaming(model);
  registry.lock();
  return {
    registry,
    model,
    functions,
    streaming,
    async terminate() {
      try {
        await hooks.run('appTerminate', appContext());
      } catch (error) {
        logger.log('error', 'app_terminate_failed', { message: errorMessage(error) });
      }
    },
  };
}

/** Asks the library for its capabilities, upon which it opens a server of its own for HTTP streaming if the app wants it. */
async function openStreaming(model: ProgrammingModel): Promise<Server | undefined> {
  let opened: Server | undefined;
  const capabilities = await onLoopback(
    async () => model.getCapabilities?.({ RpcHttpBodyOnly: 'true', RawHttpBodyBytes: 'true' }),
    (server) => {
      if (server instanceof Server) opened = server;
    },
  );
  if (capabilities?.['HttpUri'] === undefined) return undefined;
  if (opened === undefined) throw new HostStartError('The library opened no server for streaming.');
  return opened;
}
