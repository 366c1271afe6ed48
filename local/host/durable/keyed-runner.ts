import { createWorkQueue } from './work-queue.ts';

/** What a run says about its key's future. */
export interface RunVerdict {
  /** More work is known to be waiting: run again without a further wake-up. */
  readonly more: boolean;
  /** Do not run this key again for so long (ms); 0 for at once. */
  readonly cooldownMs: number;
}

/** Options of {@link createKeyedRunner}. */
export interface KeyedRunnerOptions {
  /** How many keys may run at the same time. */
  readonly limit: number;
  /** Must not reject. Never called twice at once for one key. */
  run(key: string): Promise<RunVerdict>;
}

/** Runs the work of many keys (orchestrations, entities), one run per key at a time. */
export interface KeyedRunner {
  /** Makes sure that `key` runs once more after this call. */
  wake(key: string): void;
  /** Starts nothing more; resolves when everything running has ended. */
  stop(): Promise<void>;
}

type KeyState = 'queued' | 'running' | 'running-again';

/** Creates a runner whose keys are served first come, first served. */
export function createKeyedRunner(options: KeyedRunnerOptions): KeyedRunner {
  const states = new Map<string, KeyState>();
  const cooling = new Set<NodeJS.Timeout>();
  let stopped = false;

  const queue = createWorkQueue<string>({
    limit: options.limit,
    laneOf: (key) => key,
    run: async (key) => {
      states.set(key, 'running');
      const verdict = await options.run(key);
      if (verdict.more) states.set(key, 'running-again');
      if (verdict.cooldownMs > 0 && !stopped) {
        const timer = setTimeout(() => {
          cooling.delete(timer);
          settle(key);
        }, verdict.cooldownMs);
        cooling.add(timer);
      } else {
        settle(key);
      }
    },
  });

  function settle(key: string): void {
    const again = states.get(key) === 'running-again';
    states.delete(key);
    if (again) enqueue(key);
  }

  function enqueue(key: string): void {
    states.set(key, 'queued');
    queue.push(key);
  }

  return {
    wake(key) {
      const state = states.get(key);
      if (state === undefined) enqueue(key);
      else if (state === 'running') states.set(key, 'running-again');
    },
    async stop() {
      stopped = true;
      for (const timer of cooling) clearTimeout(timer);
      await queue.stop();
    },
  };
}
