import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type {
  Clock,
  DurableRuntime,
  DurableSettings,
  HostLogger,
  Invoker,
  ManagementResponse,
} from '../../../../local/host/contracts.ts';
import type { DurableProbe } from '../../../../local/host/durable/probe.ts';
import { createDurableRuntime } from '../../../../local/host/durable/runtime.ts';
import { loadInProcessApp } from './in-process-app.ts';

/** The status record of the management API. */
export interface Status {
  readonly name: string;
  readonly instanceId: string;
  readonly runtimeStatus: string;
  readonly input: unknown;
  readonly output: unknown;
  readonly customStatus: unknown;
  readonly historyEvents?: readonly Readonly<Record<string, unknown>>[];
}

/** Settings of a host of the size of the product's. */
export const SETTINGS: DurableSettings = {
  hubName: 'TestHub',
  maxConcurrentActivityFunctions: 20,
  maxConcurrentOrchestratorFunctions: 20,
  maxConcurrentEntityFunctions: 20,
  maxOrchestrationActions: 100_000,
  overridableExistingInstanceStates: 'NonRunningStates',
};

/** Options of {@link startTestHost}; everything has a default. */
export interface TestHostOptions {
  readonly dataDir?: string;
  readonly clock?: Clock;
  readonly probe?: DurableProbe;
  readonly settings?: Partial<DurableSettings>;
  readonly invoker?: Invoker;
  readonly origin?: string;
}

/** A durable runtime on a folder of its own, with short-hands for its management API. */
export interface TestHost {
  readonly runtime: DurableRuntime;
  readonly dataDir: string;
  /** Throws when the engine has logged an error: nothing that an app does may cause one. */
  expectNoErrors(): void;
  call(
    method: string,
    pathAndQuery: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ): Promise<{ status: number; headers: ManagementResponse['headers']; body: unknown }>;
  /** Starts an orchestration and returns its id. */
  start(name: string, input?: unknown, id?: string): Promise<string>;
  status(id: string, query?: string): Promise<Status>;
  /** Waits until the instance has ended. */
  finished(id: string, timeoutMs?: number): Promise<Status>;
  /** Starts, waits, and returns the final status. */
  run(name: string, input?: unknown): Promise<Status>;
  /** Stops the runtime without removing its folder. */
  stop(drainMs?: number): Promise<void>;
  /** Stops and removes the folder. */
  dispose(): Promise<void>;
}

/** Starts a durable runtime with all functions registered so far. */
export async function startTestHost(options: TestHostOptions = {}): Promise<TestHost> {
  const app = loadInProcessApp();
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'durable-test-'));
  const errors: unknown[] = [];
  const logger: HostLogger = {
    log: (level, event, fields) => {
      if (level === 'error') errors.push({ event, ...fields });
    },
  };
  const runtime = createDurableRuntime(
    {
      dataDir,
      functions: app.functions(),
      invoker: options.invoker ?? app.invoker,
      settings: { ...SETTINGS, ...options.settings },
      origin: options.origin ?? 'http://127.0.0.1:7071',
      logger,
      clock: options.clock ?? Date.now,
    },
    options.probe,
  );
  await runtime.start();
  return testHost(runtime, dataDir, errors);
}

function testHost(runtime: DurableRuntime, dataDir: string, errors: unknown[]): TestHost {
  const host: TestHost = {
    runtime,
    dataDir,
    expectNoErrors() {
      if (errors.length > 0) throw new Error(`the engine logged ${JSON.stringify(errors)}`);
    },
    async call(method, pathAndQuery, body, headers = {}) {
      const url = new URL(pathAndQuery, 'http://localhost');
      const response = await runtime.manage({
        method,
        path: url.pathname,
        query: url.searchParams,
        headers,
        body: body === undefined ? '' : JSON.stringify(body),
      });
      const parsed: unknown = response.body === '' ? null : JSON.parse(response.body);
      return { status: response.status, headers: response.headers, body: parsed };
    },
    async start(name, input, id) {
      const path = `/orchestrators/${name}${id === undefined ? '' : `/${encodeURIComponent(id)}`}`;
      const response = await host.call('POST', path, input);
      if (response.status !== 202) throw new Error(JSON.stringify(response));
      return (response.body as { id: string }).id;
    },
    async status(id, query = '') {
      const response = await host.call('GET', `/instances/${encodeURIComponent(id)}?${query}`);
      if (response.status === 404) throw new Error(`no instance ${id}`);
      return response.body as Status;
    },
    async finished(id, timeoutMs = 20_000) {
      const deadline = Date.now() + timeoutMs;
      for (;;) {
        const status = await host.status(id);
        if (!['Pending', 'Running', 'Suspended'].includes(status.runtimeStatus)) return status;
        if (Date.now() > deadline) throw new Error(`not finished: ${JSON.stringify(status)}`);
        await delay(5);
      }
    },
    run: async (name, input) => host.finished(await host.start(name, input)),
    stop: (drainMs = 2000) => runtime.stop(drainMs),
    async dispose() {
      await runtime.stop(2000);
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
  return host;
}

/** Waits until `condition` holds; fails after `timeoutMs`. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`never became true: ${condition.toString()}`);
    await delay(5);
  }
}
