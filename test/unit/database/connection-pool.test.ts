import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DriverConnection } from '../../../src/database/connection.ts';
import { createConnectionPool } from '../../../src/database/connection-pool.ts';
import { DatabaseError } from '../../../src/database/database-error.ts';

class FakeConnection implements DriverConnection {
  usable = true;
  ended = false;
  run(): Promise<unknown> {
    return Promise.resolve([]);
  }
  destroy(): void {
    this.usable = false;
  }
  end(): Promise<void> {
    this.ended = true;
    this.usable = false;
    return Promise.resolve();
  }
}

/** A server that counts its connections; `slowMs` delays each new one, `refuses` turns it away. */
class FakeServer {
  readonly opened: FakeConnection[] = [];
  opening = 0;
  slowMs = 0;
  refuses = false;

  readonly open = async (): Promise<DriverConnection> => {
    this.opening += 1;
    try {
      if (this.slowMs > 0) await new Promise((resolve) => void setTimeout(resolve, this.slowMs));
      if (this.refuses) throw new DatabaseError('unreachable');
      const connection = new FakeConnection();
      this.opened.push(connection);
      return connection;
    } finally {
      this.opening -= 1;
    }
  };

  inUse(): number {
    return this.opening + this.opened.filter((connection) => connection.usable).length;
  }
}

const LIMITS = { shardId: 1, limit: 2, queueLimit: 2, idleMs: 1_000 };

function setUp(limits: Partial<typeof LIMITS> = {}) {
  const server = new FakeServer();
  const pool = createConnectionPool({ ...LIMITS, ...limits, open: server.open });
  return { server, pool };
}

/** A use that lasts until it is let go. */
function held() {
  let release = (): void => undefined;
  const until = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { use: () => until, release };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);

describe('the connection pool', () => {
  it('opens nothing before it is used and uses a connection again', async () => {
    const { server, pool } = setUp();
    expect(pool.use()).toEqual({ open: 0, idle: 0, waiting: 0, limit: 2 });
    await pool.with(100, () => Promise.resolve());
    await pool.with(100, () => Promise.resolve());
    expect(server.opened).toHaveLength(1);
    expect(pool.use()).toEqual({ open: 1, idle: 1, waiting: 0, limit: 2 });
  });

  it('serves waiting callers in their order', async () => {
    const { pool } = setUp({ limit: 1 });
    const first = held();
    const order: string[] = [];
    const work = [
      pool.with(100, first.use),
      pool.with(100, () => Promise.resolve(order.push('second'))),
      pool.with(100, () => Promise.resolve(order.push('third'))),
    ];
    await settle();
    expect(pool.use().waiting).toBe(2);
    first.release();
    await Promise.all(work);
    expect(order).toEqual(['second', 'third']);
  });

  it('turns away who finds the queue full, and who has waited long enough', async () => {
    const { pool } = setUp({ limit: 1, queueLimit: 1 });
    const first = held();
    const busy = pool.with(100, first.use);
    const waiting = failureOf(pool.with(100, first.use));
    await settle();
    await expect(pool.with(100, first.use)).rejects.toMatchObject({ code: 'too-many-requests' });
    await vi.advanceTimersByTimeAsync(100);
    expect(await waiting).toMatchObject({
      code: 'shard-unavailable',
      details: { shardId: 1, reason: 'no connection became free in time' },
    });
    first.release();
    await busy;
    expect(pool.use()).toMatchObject({ open: 1, waiting: 0 });
  });

  it('gives the place back when none can be opened', async () => {
    const { server, pool } = setUp({ limit: 1 });
    server.refuses = true;
    const use = (): Promise<string> => Promise.resolve('used');
    await expect(pool.with(100, use)).rejects.toMatchObject({ failure: 'unreachable' });
    server.refuses = false;
    expect(await pool.with(100, use)).toBe('used');
  });

  it.each([
    [2_000, 'unreachable'],
    [500, 'deadline'],
  ])('does not wait longer than %i ms for a slow server: %s', async (waitMs, failure) => {
    const { server, pool } = setUp({ limit: 1 });
    server.slowMs = 3_000;
    const use = vi.fn<() => Promise<void>>(() => Promise.resolve());
    const asked = failureOf(pool.with(waitMs, use));
    await vi.advanceTimersByTimeAsync(waitMs);
    expect(await asked).toMatchObject({ failure });
    expect(pool.use().open).toBe(1); // Still being opened, still counted.
    await vi.advanceTimersByTimeAsync(3_000 - waitMs);
    expect(pool.use()).toMatchObject({ open: 1, idle: 1 });
    expect(use).not.toHaveBeenCalled();
  });

  it('does not hand out a connection that broke, in use or idle', async () => {
    const { server, pool } = setUp();
    await pool.with(100, (connection) => Promise.resolve(connection.destroy()));
    expect(pool.use().open).toBe(0);
    await pool.with(100, () => Promise.resolve());
    server.opened.at(-1)?.destroy();
    expect(pool.use()).toMatchObject({ open: 0, idle: 0 });
    await pool.with(100, (connection) => {
      expect(connection.usable).toBe(true);
      return Promise.resolve();
    });
    expect(server.opened).toHaveLength(3);
  });

  it('closes what has been idle for too long, oldest first, and keeps what is in use', async () => {
    const { server, pool } = setUp();
    const [one, two] = [held(), held()];
    const work = [pool.with(100, one.use), pool.with(100, two.use)];
    await settle();
    one.release();
    await settle();
    await vi.advanceTimersByTimeAsync(600);
    two.release();
    await vi.advanceTimersByTimeAsync(500);
    await Promise.all(work);
    expect(server.opened.map((connection) => connection.ended)).toEqual([true, false]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(pool.use().open).toBe(0);
  });

  it('retires all connections of before', async () => {
    const { server, pool } = setUp();
    const busy = held();
    const work = pool.with(100, busy.use);
    await pool.with(100, () => Promise.resolve());
    pool.retire();
    expect(server.opened.map((connection) => connection.ended)).toEqual([false, true]);
    busy.release();
    await work;
    expect(server.opened.every((connection) => connection.ended)).toBe(true);
    expect(pool.use().open).toBe(0);
  });

  it('closes: waits for what is in use, not for ever, and refuses everybody else', async () => {
    const { server, pool } = setUp({ limit: 1 });
    const busy = held();
    const work = pool.with(5_000, busy.use);
    const waiting = failureOf(pool.with(5_000, busy.use));
    await settle();
    const closed = vi.fn<() => void>();
    const closing = pool.close(1_000).then(closed);
    expect(await waiting).toMatchObject({ details: { reason: 'the pool is closed' } });
    await vi.advanceTimersByTimeAsync(999);
    expect(closed).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    await closing;
    expect(server.inUse()).toBe(0);
    await expect(pool.with(100, busy.use)).rejects.toMatchObject({ code: 'shard-unavailable' });
    busy.release();
    await work;
  });

  it('closes at once when the last one comes back', async () => {
    const { server, pool } = setUp();
    const busy = held();
    const work = pool.with(100, busy.use);
    await settle();
    const closing = pool.close(60_000);
    busy.release();
    await Promise.all([work, closing]);
    expect(server.inUse()).toBe(0);
  });

  it('never has more connections than its limit and loses none, whatever happens', async () => {
    const caller = fc.record({
      startMs: fc.integer({ min: 0, max: 50 }),
      waitMs: fc.integer({ min: 0, max: 50 }),
      holdMs: fc.integer({ min: 0, max: 30 }),
      fate: fc.constantFrom('fine', 'throws', 'breaks'),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(caller, { maxLength: 25 }),
        fc.integer({ min: 1, max: 4 }),
        fc.constantFrom(0, 5, 20),
        async (callers, limit, slowMs) => {
          const { server, pool } = setUp({ limit, queueLimit: 100 });
          server.slowMs = slowMs;
          let running = 0;
          const work = callers.map(async ({ startMs, waitMs, holdMs, fate }) => {
            await new Promise((resolve) => void setTimeout(resolve, startMs));
            await pool.with(waitMs, async (connection) => {
              running += 1;
              expect(running).toBeLessThanOrEqual(limit);
              expect(server.inUse()).toBeLessThanOrEqual(limit);
              await new Promise((resolve) => void setTimeout(resolve, holdMs));
              running -= 1;
              if (fate === 'breaks') connection.destroy();
              if (fate === 'throws') throw new DatabaseError('rejected');
            });
          });
          const settled = Promise.allSettled(work);
          await vi.advanceTimersByTimeAsync(500);
          for (const outcome of await settled) {
            expect(outcome).not.toMatchObject({ reason: { name: 'AssertionError' } });
          }
          // All places are free again.
          expect(pool.use()).toMatchObject({ waiting: 0, idle: pool.use().open });
          await pool.close(0);
          expect(server.inUse()).toBe(0);
        },
      ),
    );
  });
});
