import { RetryableError } from '../kernel/errors.ts';
import { SERVER_TO_BLAME_MS } from './connection.ts';
import type { DriverConnection } from './connection.ts';
import type { PoolUse } from './contracts.ts';
import { DatabaseError } from './database-error.ts';

/**
 * Lazy, capped pool of one shard's connections.
 *
 * Ours rather than the driver's, because that one has no time limit for waiting callers, reports a full queue
 * by message text only, hands a connection out before its session can be set up, and never closes idle
 * connections while their number is within the limit (FACTS-mysql 8).
 */
export interface ConnectionPool {
  /**
   * Runs `use` on a connection of its own. Waits at most `waitMs` for one. The connection goes back only when it is
   * usable; `use` must leave no transaction open.
   *
   * Throws `too-many-requests` when the queue is full, `shard-unavailable` when none became free in time, and
   * `DatabaseError` when none can be opened; all before `use` is called.
   */
  with<T>(waitMs: number, use: (connection: DriverConnection) => Promise<T>): Promise<T>;
  /** Closes idle connections now and those in use when they come back: they may lead to a server that has stepped down. */
  retire(): void;
  use(): PoolUse;
  /** Refuses new callers, closes idle connections, waits up to `graceMs` for those in use, then destroys them. */
  close(graceMs: number): Promise<void>;
}

export interface PoolOptions {
  readonly shardId: number;
  readonly limit: number;
  /** Callers that may wait; one more is refused. */
  readonly queueLimit: number;
  readonly idleMs: number;
  readonly open: () => Promise<DriverConnection>;
}

interface Pooled {
  readonly connection: DriverConnection;
  readonly generation: number;
  idleSinceMs: number;
}

type WaitOutcome = 'permit' | 'too-late' | 'closed';
type Waiter = (outcome: WaitOutcome) => void;

export function createConnectionPool(options: PoolOptions): ConnectionPool {
  return new CappedPool(options);
}

class CappedPool implements ConnectionPool {
  readonly #options: PoolOptions;
  /** Most recently used last, so that a quiet pool shrinks. */
  readonly #idle: Pooled[] = [];
  readonly #inUse = new Set<Pooled>();
  readonly #waiters = new Set<Waiter>();
  /** Connections in use or being opened: what the cap is on, together with the idle ones. */
  #permits = 0;
  #generation = 0;
  #closed = false;
  #drained: (() => void) | undefined;
  #reaper: NodeJS.Timeout | undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  async with<T>(waitMs: number, use: (connection: DriverConnection) => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    await this.#takePermit(waitMs);
    const pooled = this.#takeIdle() ?? (await this.#open(waitMs - (performance.now() - startedAt)));
    this.#inUse.add(pooled);
    try {
      return await use(pooled.connection);
    } finally {
      this.#inUse.delete(pooled);
      this.#giveBack(pooled);
    }
  }

  retire(): void {
    this.#generation += 1;
    for (const pooled of this.#idle.splice(0)) void pooled.connection.end();
  }

  use(): PoolUse {
    const idle = this.#idle.filter((pooled) => pooled.connection.usable).length;
    return {
      open: Math.min(this.#options.limit, this.#permits + idle),
      idle,
      waiting: this.#waiters.size,
      limit: this.#options.limit,
    };
  }

  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#reaper);
    for (const wake of this.#waiters) wake('closed');
    const ended = this.#idle.splice(0).map((pooled) => pooled.connection.end());
    if (this.#permits > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, graceMs);
        this.#drained = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    for (const pooled of this.#inUse) pooled.connection.destroy();
    await Promise.all(ended);
  }

  async #takePermit(waitMs: number): Promise<void> {
    if (this.#closed) throw this.#unavailable('the pool is closed');
    if (this.#permits < this.#options.limit && this.#waiters.size === 0) {
      this.#permits += 1;
      return;
    }
    if (this.#waiters.size >= this.#options.queueLimit) {
      throw RetryableError.tooManyRequests(
        'Too many requests are waiting for the shard that holds this data; nothing was changed. Try again shortly.',
        { details: { shardId: this.#options.shardId, ...this.use() } },
      );
    }
    const outcome = await new Promise<WaitOutcome>((resolve) => {
      const wake: Waiter = (reason) => {
        clearTimeout(timer);
        this.#waiters.delete(wake);
        resolve(reason);
      };
      const timer = setTimeout(() => wake('too-late'), waitMs);
      this.#waiters.add(wake);
    });
    if (outcome === 'permit') return;
    throw this.#unavailable(
      outcome === 'closed' ? 'the pool is closed' : 'no connection became free in time',
    );
  }

  /** Hands the permit to the caller who has waited longest, or takes it back. */
  #freePermit(): void {
    const next = this.#closed ? undefined : this.#waiters.values().next().value;
    if (next !== undefined) {
      next('permit');
      return;
    }
    this.#permits -= 1;
    if (this.#permits === 0) this.#drained?.();
  }

  #takeIdle(): Pooled | undefined {
    for (let pooled = this.#idle.pop(); pooled !== undefined; pooled = this.#idle.pop()) {
      if (pooled.connection.usable) return pooled;
    }
    return undefined;
  }

  /** Opens one; a caller who can wait no longer leaves it to the pool, which holds the permit until it is open. */
  async #open(waitMs: number): Promise<Pooled> {
    const generation = this.#generation;
    const opening = this.#options
      .open()
      .then((connection): Pooled => ({ connection, generation, idleSinceMs: 0 }));
    const tooLate = Symbol('too late');
    let timer: NodeJS.Timeout | undefined;
    const wait = new Promise<typeof tooLate>((resolve) => {
      timer = setTimeout(() => resolve(tooLate), waitMs);
    });
    try {
      const first = await Promise.race([opening, wait]);
      if (first !== tooLate) return first;
    } catch (error) {
      this.#freePermit();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    void opening.then(
      (pooled) => this.#giveBack(pooled),
      () => this.#freePermit(),
    );
    throw new DatabaseError(waitMs < SERVER_TO_BLAME_MS ? 'deadline' : 'unreachable', {
      details: { waitMs },
    });
  }

  #giveBack(pooled: Pooled): void {
    if (pooled.connection.usable) {
      if (this.#closed || pooled.generation !== this.#generation) {
        void pooled.connection.end();
      } else {
        pooled.idleSinceMs = performance.now();
        this.#idle.push(pooled);
        this.#reapLater();
      }
    }
    this.#freePermit();
  }

  #reapLater(): void {
    if (this.#reaper !== undefined) return;
    this.#reaper = setTimeout(() => {
      this.#reaper = undefined;
      const oldest = performance.now() - this.#options.idleMs;
      const expired = this.#idle.findIndex((pooled) => pooled.idleSinceMs > oldest);
      const count = expired === -1 ? this.#idle.length : expired;
      for (const pooled of this.#idle.splice(0, count)) void pooled.connection.end();
      if (this.#idle.length > 0) this.#reapLater();
    }, this.#options.idleMs);
    this.#reaper.unref();
  }

  #unavailable(reason: string): RetryableError {
    return RetryableError.shardUnavailable(this.#options.shardId, {
      details: { reason, ...this.use() },
    });
  }
}
