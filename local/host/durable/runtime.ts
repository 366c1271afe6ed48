import type { DurableRuntime, DurableRuntimeOptions } from '../contracts.ts';
import { createActivityRunner } from './activities.ts';
import { createInstanceCache, type Engine, type Wakes } from './engine.ts';
import { runEntity } from './entities/run-entity.ts';
import { createFunctionTable } from './function-table.ts';
import { neverBackwards } from './host-time.ts';
import { createKeyedRunner } from './keyed-runner.ts';
import { clientInput } from './management/client-input.ts';
import { createManagementApi } from './management/router.ts';
import { NO_PROBE, type DurableProbe } from './probe.ts';
import { unfinishedWork } from './recovery.ts';
import { openDatabase } from './store/database.ts';
import { createEntityStore } from './store/entity-store.ts';
import { createExecutionStore } from './store/execution-store.ts';
import { createInstanceQueries } from './store/instance-queries.ts';
import { createInstanceStore } from './store/instance-store.ts';
import { createWorkStore, type PendingActivity } from './store/work-store.ts';
import { createTransactions } from './store/transactions.ts';
import { createTimerService } from './timers.ts';
import { runTurn } from './turn/run-turn.ts';
import { createWorkQueue } from './work-queue.ts';

/** What a running runtime consists of; absent before `start` and after `stop`. */
interface Parts {
  readonly manage: DurableRuntime['manage'];
  stop(drainMs: number): Promise<void>;
}

/**
 * Creates the durable runtime: orchestrations, activities, entities and timers over one SQLite file.
 *
 * At-least-once: all effects of a step are written in one transaction and dispatched after it, and
 * everything not answered is dispatched again by `start`. So the process may die at any moment.
 *
 * @param probe for tests that kill or stall the engine at chosen points.
 */
export function createDurableRuntime(
  options: DurableRuntimeOptions,
  probe: DurableProbe = NO_PROBE,
): DurableRuntime {
  let parts: Parts | null = null;
  const input = clientInput(options);
  return {
    async start() {
      if (parts !== null) throw new Error('the durable runtime is already started');
      parts = startParts(options, probe);
    },
    async stop(drainMs) {
      const running = parts;
      parts = null;
      await running?.stop(drainMs);
    },
    clientInput: () => input,
    async manage(request) {
      if (parts === null) throw new Error('the durable runtime is not started');
      return parts.manage(request);
    },
  };
}

function startParts(options: DurableRuntimeOptions, probe: DurableProbe): Parts {
  const db = openDatabase(options.dataDir);
  const closing = new AbortController();
  const instances = createInstanceStore(db);
  const executions = createExecutionStore(db);
  const transactions = createTransactions(db, probe, (wakes) => dispatcher.dispatch(wakes));
  const engine: Engine = {
    instances,
    executions,
    work: createWorkStore(db),
    entities: createEntityStore(db),
    functions: createFunctionTable(options.functions),
    invoker: options.invoker,
    settings: options.settings,
    logger: options.logger,
    clock: neverBackwards(options.clock),
    probe,
    closed: closing.signal,
    cache: createInstanceCache(instances, executions),
    commit: transactions.commit,
    commitSoon: transactions.commitSoon,
  };
  const dispatcher = createDispatcher(engine);
  dispatcher.dispatch(unfinishedWork(engine));
  dispatcher.timers.start();
  return {
    manage: createManagementApi(engine, createInstanceQueries(db), options),
    async stop(drainMs) {
      await dispatcher.stop(drainMs);
      transactions.flush();
      closing.abort();
      db.close();
    },
  };
}

/** The queues through which committed work reaches the code that runs it. */
function createDispatcher(engine: Engine) {
  const { settings } = engine;
  const runner = createActivityRunner(engine);
  const orchestrators = createKeyedRunner({
    limit: settings.maxConcurrentOrchestratorFunctions,
    run: (id) => runTurn(engine, id),
  });
  const entities = createKeyedRunner({
    limit: settings.maxConcurrentEntityFunctions,
    run: (id) => runEntity(engine, id),
  });
  const activities = createWorkQueue<PendingActivity>({
    limit: settings.maxConcurrentActivityFunctions,
    laneOf: ({ instanceId }) => instanceId,
    run: (activity) => runner.run(activity),
  });
  // HTTP calls only wait, often for a long time: they must not take the place of activities.
  const httpCalls = createWorkQueue<PendingActivity>({
    limit: Number.POSITIVE_INFINITY,
    laneOf: ({ instanceId }) => instanceId,
    run: (activity) => runner.run(activity),
  });
  const timers = createTimerService(engine);

  return {
    timers,
    dispatch(wakes: Wakes): void {
      for (const activity of wakes.activities) {
        (activity.kind === 'http' ? httpCalls : activities).push(activity);
      }
      for (const id of wakes.instances) orchestrators.wake(id);
      for (const id of wakes.entities) entities.wake(id);
      for (const atMs of wakes.timersAtMs) timers.notice(atMs);
    },
    /** Stops dispatching; waits at most `drainMs` for what is running, HTTP calls excepted. */
    async stop(drainMs: number): Promise<void> {
      timers.stop();
      void httpCalls.stop();
      const drained = Promise.all([orchestrators.stop(), entities.stop(), activities.stop()]);
      let handle: NodeJS.Timeout | undefined;
      const timeout = new Promise((resolve) => {
        handle = setTimeout(resolve, drainMs);
      });
      await Promise.race([drained, timeout]);
      clearTimeout(handle);
      // Results of the last activities are recorded on the next turn of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}
