/** Options of {@link createWorkQueue}. */
export interface WorkQueueOptions<T> {
  /** How many items may run at the same time (at least 1). */
  readonly limit: number;
  /** Items of one lane keep their order; lanes take turns. */
  laneOf(item: T): string;
  /** Must not reject: the owner of the work decides what a failure means. */
  run(item: T): Promise<void>;
}

/** A bounded number of workers over lanes served round robin. */
export interface WorkQueue<T> {
  push(item: T): void;
  /** Starts nothing more; resolves when everything running has ended. */
  stop(): Promise<void>;
}

/**
 * Items taken from a lane before the next lane's turn. More than one, so that the activities of one
 * fan-out end together and their answers share an orchestrator turn.
 */
const QUANTUM = 8;

interface Lane<T> {
  readonly items: T[];
  /** Index of the first item not yet taken; cheaper than shifting a long array. */
  next: number;
}

interface Lanes<T> {
  add(name: string, item: T): void;
  /** The next item in turn, or `undefined`. */
  take(): T | undefined;
  isEmpty(): boolean;
}

function createLanes<T>(): Lanes<T> {
  const lanes = new Map<string, Lane<T>>();
  return {
    isEmpty: () => lanes.size === 0,
    add(name, item) {
      const lane = lanes.get(name);
      if (lane === undefined) lanes.set(name, { items: [item], next: 0 });
      else lane.items.push(item);
    },
    take() {
      const first = lanes.entries().next();
      if (first.done === true) return undefined;
      const [name, lane] = first.value;
      const item = lane.items[lane.next];
      lane.next += 1;
      const isEmpty = lane.next === lane.items.length;
      if (isEmpty || lane.next % QUANTUM === 0) lanes.delete(name);
      // Inserting it again moves the lane behind the others: a Map keeps insertion order.
      if (!isEmpty && lane.next % QUANTUM === 0) lanes.set(name, lane);
      return item;
    },
  };
}

/**
 * Creates a queue in which a lane with ten thousand items delays a lane with one item by a few
 * items per other lane, so that a huge fan-out does not starve other orchestrations.
 *
 * An item starts on the next turn of the event loop, never inside `push`.
 */
export function createWorkQueue<T>(options: WorkQueueOptions<T>): WorkQueue<T> {
  const lanes = createLanes<T>();
  const running = new Set<Promise<void>>();
  let stopped = false;
  let armed = false;

  function fill(): void {
    armed = false;
    while (!stopped && running.size < options.limit) {
      const item = lanes.take();
      if (item === undefined) return;
      const job = options.run(item).finally(() => {
        running.delete(job);
        arm();
      });
      running.add(job);
    }
  }

  function arm(): void {
    if (armed || stopped || lanes.isEmpty()) return;
    armed = true;
    setImmediate(fill);
  }

  return {
    push(item) {
      lanes.add(options.laneOf(item), item);
      arm();
    },
    async stop() {
      stopped = true;
      await Promise.allSettled(running);
    },
  };
}
