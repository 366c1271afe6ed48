import { join, resolve } from 'node:path';
import type { Clock, DurableRuntime, IndexedFunction } from './contracts.ts';
import { openApp, type LoadedApp } from './app/app.ts';
import { readHostSettings, type HostSettings } from './app/host-json.ts';
import { isType } from './app/indexing.ts';
import { createInvoker, type TrackingInvoker } from './app/invoker.ts';
import { applyEnvironment, applyTimeZone, readLocalSettings } from './app/local-settings.ts';
import { lockDataFolder } from './data-folder.ts';
import { openHostStore, type HostStore } from './host-store.ts';
import { invokeUrl } from './http/admin.ts';
import { createDispatcher, type Dispatcher } from './http/dispatch.ts';
import { createDurableAccess, type DurableAccess } from './http/durable-access.ts';
import { loadKeys, type HostKeys } from './http/keys.ts';
import { listen, type HttpServer } from './http/server.ts';
import { captureConsole, createLogger, type LineLogger } from './logger.ts';
import { createProcessOutput } from './output.ts';
import { QueueConnections } from './queues/connections.ts';
import { QueueOutputs } from './queues/outputs.ts';
import { createTriggers, startByHand, type Triggers } from './triggers.ts';

const DEFAULT_PORT = 7071;

export interface StartHostOptions {
  /** Folder of the built app: package.json, host.json. */
  readonly appDir: string;
  /** Folder of this host's state; one host at a time. */
  readonly dataDir: string;
  /** Default: the app's LocalHttpPort, else 7071. 0 picks a free port. */
  readonly port?: number;
  /** Default 127.0.0.1: nobody outside this machine reaches the host unless asked for. */
  readonly host?: string;
  /** Ask for keys as Azure does. */
  readonly auth?: boolean;
  /** Default: `local.settings.json` of the app, if there is one. */
  readonly settingsFile?: string;
  /** Make log lines of the app's `console` output; for a process that is nothing but a host. */
  readonly captureConsole?: boolean;
  readonly stdout?: (text: string) => void;
  readonly stderr?: (text: string) => void;
  readonly clock?: Clock;
}

export interface RunningHost {
  /** `http://127.0.0.1:7071`, without a trailing slash. */
  readonly origin: string;
  readonly functions: readonly IndexedFunction[];
  /** The URL template of an HTTP function; null for the others. */
  urlOf(fn: IndexedFunction): string | null;
  /** Present with `auth`. */
  readonly keys: HostKeys | undefined;
  readonly logger: LineLogger;
  /** Stops the listeners, lets running work finish for up to `drainMs`, then runs appTerminate hooks. */
  stop(drainMs?: number): Promise<void>;
}

/** Closes what was opened, in reverse order. */
class Cleanup {
  readonly #steps: (() => Promise<void> | void)[] = [];

  add(step: () => Promise<void> | void): void {
    this.#steps.unshift(step);
  }

  async run(): Promise<void> {
    for (const step of this.#steps.splice(0)) await step();
  }
}

/**
 * Starts a host for one app in this process; a process can run one app in its life. Throws
 * `HostStartError` with a message for the user when settings, folder, port or app are at fault;
 * everything opened until then is closed again.
 */
export async function startHost(options: StartHostOptions): Promise<RunningHost> {
  const cleanup = new Cleanup();
  try {
    return await start(options, cleanup);
  } catch (error) {
    await cleanup.run();
    throw error;
  }
}

async function start(options: StartHostOptions, cleanup: Cleanup): Promise<RunningHost> {
  const appDir = resolve(options.appDir);
  const dataDir = resolve(options.dataDir);
  const local = readLocalSettings(
    resolve(options.settingsFile ?? join(appDir, 'local.settings.json')),
    options.settingsFile !== undefined,
  );
  const lock = lockDataFolder(dataDir);
  cleanup.add(() => lock.release());
  let logLevels: HostSettings['logLevels'] = {};
  const output = createProcessOutput();
  const logger = createLogger({
    levels: () => logLevels,
    stdout: options.stdout ?? output.stdout,
    stderr: options.stderr ?? output.stderr,
  });
  if (options.captureConsole === true) captureConsole(logger);
  const host = options.host ?? '127.0.0.1';
  const port = options.port ?? local.port ?? DEFAULT_PORT;
  const server = await listen({ host, port, logger });
  cleanup.add(() => server.close(0));
  lock.describe(server.origin);

  applyEnvironment(local.variables, { appDir, origin: server.origin });
  const unknownZone = applyTimeZone();
  if (unknownZone !== undefined) logger.log('warn', 'time_zone_unknown', { zone: unknownZone });
  const settings = readHostSettings(appDir, process.env);
  logLevels = settings.logLevels;
  const app = await openApp({ appDir, logger, only: settings.functions });
  cleanup.add(() => app.terminate());
  const store = openHostStore(dataDir);
  cleanup.add(() => store.close());
  const keys = options.auth === true ? loadKeys(dataDir) : undefined;
  const clock = options.clock ?? Date.now;
  return assemble({ app, settings, store, server, logger, keys, dataDir, clock }, cleanup);
}

interface Parts {
  readonly app: LoadedApp;
  readonly settings: HostSettings;
  readonly store: HostStore;
  readonly server: HttpServer;
  readonly logger: LineLogger;
  readonly keys: HostKeys | undefined;
  readonly dataDir: string;
  readonly clock: Clock;
}

interface Engine {
  readonly invoker: TrackingInvoker;
  readonly triggers: Triggers;
  readonly durable: DurableRuntime | undefined;
  readonly durableAccess: DurableAccess | undefined;
}

/** Joins invocations, triggers, outputs and the durable runtime, none of them started yet. */
async function connect(parts: Parts): Promise<Engine> {
  const { app, settings, server, logger, keys } = parts;
  const durableAccess =
    keys === undefined ? undefined : createDurableAccess(server.origin, keys.system);
  const connections = new QueueConnections(process.env);
  // Functions may run before all of this exists, and what they use is looked up when they run.
  const late: { triggers?: Triggers; durable?: DurableRuntime } = {};
  const outputs = new QueueOutputs({
    connections,
    encoding: settings.queues.messageEncoding,
    onWritten: (connection, queue) => late.triggers?.wakeQueue(connection, queue),
  });
  const invoker = createInvoker({
    registry: app.registry,
    model: app.model,
    logger,
    timeoutMs: settings.functionTimeoutMs,
    // Durable clients are the only input binding that passes indexing.
    resolveInput: () => {
      const input = late.durable?.clientInput() ?? '{}';
      return { string: durableAccess?.clientInput(input) ?? input };
    },
    writeOutputs: (request) => outputs.write(request),
  });
  const triggers = createTriggers({
    ...parts,
    functions: app.functions,
    connections,
    queueSettings: settings.queues,
    invoker,
  });
  const durable = await createDurable(parts, invoker);
  late.triggers = triggers;
  if (durable !== undefined) late.durable = durable;
  return { invoker, triggers, durable, durableAccess };
}

async function assemble(parts: Parts, cleanup: Cleanup): Promise<RunningHost> {
  const { app, settings, server, logger, keys } = parts;
  const engine = await connect(parts);
  const { invoker, triggers, durable, durableAccess } = engine;
  const admin = {
    origin: server.origin,
    functions: app.functions,
    routePrefix: settings.http.routePrefix,
    startFunction: (fn: IndexedFunction, input: string) =>
      startByHand({ invoker, logger }, fn, input),
  };
  const dispatcher = createDispatcher({
    functions: app.functions,
    settings: settings.http,
    invoker,
    streaming: app.streaming,
    keys,
    admin,
    durable,
    durableAccess,
    logger,
  });
  await durable?.start();
  cleanup.add(() => durable?.stop(0));
  // Functions that start at once may call this host's own URLs.
  server.serve(dispatcher.handle);
  await triggers.start();
  return {
    origin: server.origin,
    functions: app.functions,
    urlOf: (fn) => invokeUrl(admin, fn),
    keys,
    logger,
    stop: (drainMs = 10_000) => stop({ ...parts, ...engine, dispatcher }, cleanup, drainMs),
  };
}

async function createDurable(
  parts: Parts,
  invoker: TrackingInvoker,
): Promise<DurableRuntime | undefined> {
  const { app, settings, server, logger, dataDir, clock } = parts;
  const types = ['orchestrationTrigger', 'activityTrigger', 'entityTrigger', 'durableClient'];
  const isDurable = app.functions.some((fn) =>
    Object.values(fn.bindings).some((binding) => types.some((type) => isType(binding, type))),
  );
  if (!isDurable) return undefined;
  // Other apps are not made to open its store.
  const { createDurableRuntime } = await import('./durable/runtime.ts');
  return createDurableRuntime({
    dataDir,
    functions: app.functions,
    invoker,
    settings: settings.durable,
    origin: server.origin,
    logger,
    clock,
  });
}

/** New work stops first, then running work drains, so that nothing is started by what still runs. */
async function stop(
  parts: Parts & Engine & { readonly dispatcher: Dispatcher },
  cleanup: Cleanup,
  drainMs: number,
): Promise<void> {
  const { dispatcher, server, triggers, durable, invoker, logger } = parts;
  const deadline = Date.now() + drainMs;
  logger.log('info', 'stopping', { running: invoker.running(), drainMs });
  const leftMs = (): number => Math.max(0, deadline - Date.now());
  await Promise.all([triggers.stop(drainMs), dispatcher.close(drainMs)]);
  await durable?.stop(leftMs());
  if (!(await invoker.drain(leftMs()))) {
    logger.log('warn', 'stopped_with_running_functions', { running: invoker.running() });
  }
  await server.close(Math.min(1_000, leftMs()));
  await cleanup.run();
}
