import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import type { DriverConnection, Protocol } from '../../../src/database/connection.ts';
import { createConnectionPool } from '../../../src/database/connection-pool.ts';
import type { SqlValue } from '../../../src/database/contracts.ts';
import { DatabaseError } from '../../../src/database/database-error.ts';
import type { FailureKind } from '../../../src/database/mysql-errors.ts';
import { GroupWriters } from '../../../src/database/group-writer.ts';
import { createShard, sqlLiteral } from '../../../src/database/shard.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';

/** A connection that records what it is sent and fails where it is told to. */
class ScriptedConnection implements DriverConnection {
  usable = true;
  readonly sent: string[] = [];
  readonly limits: number[] = [];
  failAt: ReadonlyMap<string, FailureKind> = new Map();

  run(_protocol: Protocol, text: string, _values: readonly SqlValue[], limitMs: number) {
    this.sent.push(text);
    this.limits.push(limitMs);
    const kind = this.failAt.get(text);
    if (kind === undefined) return Promise.resolve({ affectedRows: 1, insertId: '7' });
    const error = new DatabaseError(kind);
    if (error.policy.destroysConnection) this.destroy();
    return Promise.reject(error);
  }
  destroy(): void {
    this.usable = false;
  }
  end(): Promise<void> {
    this.destroy();
    return Promise.resolve();
  }
}

function setUp(failAt: Readonly<Record<string, FailureKind>> = {}, remainingMs = 10_000) {
  const connection = new ScriptedConnection();
  connection.failAt = new Map(Object.entries(failAt));
  const pool = createConnectionPool({
    shardId: 0,
    limit: 1,
    queueLimit: 1,
    idleMs: 60_000,
    open: () => Promise.resolve(connection),
  });
  const shard = createShard(
    {
      id: 0 as ShardId,
      name: 'a',
      pools: { single: pool, batch: pool },
      acquireTimeoutMs: 1_000,
      statementTimeoutMs: 5_000,
      remainingMs: () => remainingMs,
    },
    new GroupWriters(0 as ShardId, 1),
  );
  return { connection, shard, pool };
}

const shorten =
  'SET @shardline_lock_wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1';
const restore = 'SET SESSION innodb_lock_wait_timeout = @shardline_lock_wait';

describe('a transaction', () => {
  it('is committed, and the connection goes back', async () => {
    const { connection, shard, pool } = setUp();
    expect(await shard.transaction((tx) => tx.execute('one', []))).toEqual({
      affectedRows: 1,
      insertId: 7,
    });
    expect(connection.sent).toEqual(['START TRANSACTION', 'one', 'COMMIT']);
    expect(pool.use().idle).toBe(1);
  });

  it('is rolled back when it throws', async () => {
    const { connection, shard, pool } = setUp({ one: 'duplicate' });
    await expect(shard.transaction((tx) => tx.execute('one', []))).rejects.toMatchObject({
      failure: 'duplicate',
    });
    expect(connection.sent).toEqual(['START TRANSACTION', 'one', 'ROLLBACK']);
    expect(pool.use().idle).toBe(1);
  });

  it('costs the connection when its state is unknown', async () => {
    for (const failAt of [
      { one: 'duplicate', ROLLBACK: 'contention' },
      { COMMIT: 'lost' },
      { one: 'timeout' },
      { 'START TRANSACTION': 'lost' },
    ] as const) {
      const { connection, shard, pool } = setUp(failAt);
      await expect(shard.transaction((tx) => tx.execute('one', []))).rejects.toBeInstanceOf(
        DatabaseError,
      );
      expect(connection.usable).toBe(false);
      expect(pool.use().open).toBe(0);
    }
  });

  it.each(['contention', 'hindered'] as const)(
    'sends nothing more after %s, even when the caller swallows it',
    async (kind) => {
      const { connection, shard } = setUp({ one: kind });
      const run = shard.transaction(async (tx) => {
        await tx.execute('one', []).catch(() => undefined);
        await tx.execute('two', []).catch(() => undefined);
      });
      await expect(run).rejects.toMatchObject({ failure: kind });
      expect(connection.sent).toEqual(['START TRANSACTION', 'one', 'ROLLBACK']);
    },
  );

  it('goes on after a failure that leaves it whole', async () => {
    const { connection, shard } = setUp({ one: 'duplicate' });
    await shard.transaction(async (tx) => {
      await tx.execute('one', []).catch(() => undefined);
      await tx.execute('two', []);
    });
    expect(connection.sent).toEqual(['START TRANSACTION', 'one', 'two', 'COMMIT']);
  });

  it('puts the lock wait back, or gives the connection up', async () => {
    const { connection, shard } = setUp();
    await shard.transaction((tx) => tx.execute('one', []), { lockWaitSeconds: 1 });
    expect(connection.sent).toEqual([shorten, 'START TRANSACTION', 'one', 'COMMIT', restore]);
    const failing = setUp({ [restore]: 'hindered' });
    await failing.shard.transaction((tx) => tx.execute('one', []), { lockWaitSeconds: 1 });
    expect(failing.connection.usable).toBe(false);
  });
});

describe('a statement with a lock wait of its own', () => {
  const within = (shard: ReturnType<typeof setUp>['shard'], onSend?: () => void) =>
    shard.executeWithin({ lockWaitSeconds: 1, onSend }, 'one', []);

  it('is committed by itself, and says when it is sent', async () => {
    const { connection, shard, pool } = setUp();
    const sentBefore: string[][] = [];
    const result = await within(shard, () => sentBefore.push([...connection.sent]));
    expect(result).toEqual({ affectedRows: 1, insertId: 7 });
    expect(sentBefore).toEqual([[shorten]]);
    await vi.waitFor(() => expect(pool.use().idle).toBe(1));
    expect(connection.sent).toEqual([shorten, 'one', restore]);
  });

  it('fails as it fails, and leaves the session as it was or gives it up', async () => {
    const refused = setUp({ one: 'contention' });
    await expect(within(refused.shard)).rejects.toMatchObject({ failure: 'contention' });
    expect(refused.connection.sent).toEqual([shorten, 'one', restore]);
    const broken = setUp({ [restore]: 'hindered' });
    await within(broken.shard);
    await vi.waitFor(() => expect(broken.connection.usable).toBe(false));
    const early = setUp({ [shorten]: 'lost' });
    await expect(within(early.shard)).rejects.toMatchObject({ failure: 'lost' });
    expect(early.connection.sent).toEqual([shorten]);
  });
});

describe('a statement', () => {
  it('gets no more time than the caller has', async () => {
    const plenty = setUp();
    await plenty.shard.execute('one', []);
    expect(plenty.connection.limits).toEqual([5_000]);
    const little = setUp({}, 20);
    await little.shard.execute('one', []);
    expect(little.connection.limits).toEqual([20]);
  });

  it('is not sent when the deadline has passed', async () => {
    const { connection, shard } = setUp({}, 0);
    await expect(shard.execute('one', [])).rejects.toMatchObject({ code: 'shard-unavailable' });
    expect(connection.sent).toEqual([]);
  });

  it('is told apart: a write is no read', async () => {
    const { shard } = setUp();
    await expect(shard.select('one', [])).rejects.toMatchObject({ code: 'internal' });
  });

  it('that meets a read-only server retires all connections', async () => {
    const { shard, pool, connection } = setUp();
    await shard.execute('one', []);
    connection.failAt = new Map([['two', 'read-only']]);
    await expect(shard.execute('two', [])).rejects.toMatchObject({ failure: 'read-only' });
    expect(pool.use().open).toBe(0);
  });
});

describe('sqlLiteral', () => {
  it.each<readonly [SqlValue, string]>([
    [null, 'NULL'],
    [1, '1'],
    [-1.5, '-1.5'],
    [9_223_372_036_854_775_807n, '9223372036854775807'],
    ["it's", String.raw`'it\'s'`],
    ['a\\b', String.raw`'a\\b'`],
    ['\0\n\r\u001a"', String.raw`'\0\n\r\Z\"'`],
    ['7', "'7'"],
    [Buffer.from([0, 1, 255]), "X'0001ff'"],
  ])('%s', (value, literal) => {
    expect(sqlLiteral(value)).toBe(literal);
  });

  it('refuses numbers that have no literal', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => sqlLiteral(value)).toThrow('finite');
    }
  });

  it('leaves no way out of the quotes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const inside = sqlLiteral(text).slice(1, -1);
        expect(inside.replaceAll(/\\[^]/g, '')).not.toMatch(/['\\]/);
      }),
    );
  });
});
