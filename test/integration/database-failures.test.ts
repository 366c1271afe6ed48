import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Shard, SqlRow } from '../../src/database/contracts.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { ShardId } from '../../src/kernel/ids.ts';
import { asAdmin, createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createTestInstance } from '../support/test-database.ts';
import type { Settings, TestInstance } from '../support/test-database.ts';

/** Shard 0 is the one that fails; 1 must go on. */
const FAILING = 0 as ShardId;
const HEALTHY = 1 as ShardId;
const PATIENT = { deadlineMs: 30_000 };
const SETTINGS: Settings = {
  SHARD_CONNECT_TIMEOUT_MS: '1500',
  SHARD_STATEMENT_TIMEOUT_MS: '4000',
  CIRCUIT_FAILURES: '4',
  CIRCUIT_OPEN_MS: '500',
};

let databases: TestDatabases;
let instance: TestInstance;

beforeAll(async () => {
  databases = await createTestDatabases();
});

beforeEach(async () => {
  instance = createTestInstance(databases, { settings: SETTINGS });
  await instance.database.prewarm();
});

afterEach(async () => {
  await databases.recover();
  await instance.database.close();
});

afterAll(async () => {
  await databases.drop();
});

function read(shard: ShardId, deadlineMs = 10_000): Promise<readonly SqlRow[]> {
  return instance.database.onShard(shard, (on) => on.select("SELECT 'here' AS word", []), {
    deadlineMs,
  });
}

function onFailing<T>(run: (shard: Shard) => Promise<T>, deadlineMs = 30_000): Promise<T> {
  return instance.database.onShard(FAILING, run, { deadlineMs });
}

/** The failure and how long it took to tell, milliseconds. */
async function failureOf(work: Promise<unknown>): Promise<{ error: unknown; ms: number }> {
  const startedAt = performance.now();
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { error, ms: performance.now() - startedAt };
}

async function untilAnswered(): Promise<number> {
  const startedAt = performance.now();
  for (;;) {
    if ((await failureOf(read(FAILING))).error === undefined) return performance.now() - startedAt;
    await systemClock.sleep(50);
  }
}

const UNAVAILABLE = { code: 'shard-unavailable', retryable: true };

describe('a server that is down', () => {
  it('is told in bounded time, then at once, delays no other shard, and is used again when it is back', async () => {
    await databases.stack.stopShard(FAILING, 'kill');
    const first = await failureOf(read(FAILING));
    expect(first.error).toMatchObject(UNAVAILABLE);
    expect(first.ms).toBeLessThan(3_000);
    while ((await instance.database.inspect(FAILING)).circuit !== 'open') {
      expect((await failureOf(read(FAILING))).ms).toBeLessThan(3_000);
    }
    const later = await failureOf(read(FAILING));
    expect(later.error).toMatchObject({ ...UNAVAILABLE, retryAfterSeconds: 1 });
    expect(later.ms).toBeLessThan(100);
    expect(await read(HEALTHY)).toHaveLength(1);
    expect(await instance.database.inspect(FAILING)).toMatchObject({
      reachable: false,
      latencyMs: null,
    });
    await databases.stack.startShard(FAILING);
    expect(await untilAnswered()).toBeLessThan(2_000);
    expect((await instance.database.inspect(FAILING)).circuit).toBe('closed');
  });
});

describe('a server that is frozen', () => {
  it('is told by the deadline, then at once, and is used again when it goes on', async () => {
    await databases.stack.freezeShard(FAILING);
    const waves = await Promise.all(
      Array.from({ length: 8 }, () => failureOf(read(FAILING, 2_500))),
    );
    for (const { error, ms } of waves) {
      expect(error).toMatchObject(UNAVAILABLE);
      expect(ms).toBeLessThan(3_200);
    }
    const later = await failureOf(read(FAILING, 2_500));
    expect(later.error).toMatchObject(UNAVAILABLE);
    expect(later.ms).toBeLessThan(1_900); // At once, or after one probe.
    expect(await read(HEALTHY)).toHaveLength(1);
    const looked = performance.now();
    expect((await instance.database.inspect(FAILING)).reachable).toBe(false);
    expect(performance.now() - looked).toBeLessThan(2_500);
    await databases.stack.startShard(FAILING);
    expect(await untilAnswered()).toBeLessThan(4_000);
  });
});

describe('a server that takes no writes', () => {
  afterEach(async () => {
    await asAdmin(databases.stack, FAILING, ['SET GLOBAL read_only = OFF']);
  });

  it('answers reads, is told for writes in bounded time, and takes them again afterwards', async () => {
    const write = (): Promise<unknown> =>
      onFailing((shard) =>
        shard.execute('UPDATE bucket_ownership SET epoch = epoch WHERE bucket = ?', [0]),
      );
    await asAdmin(databases.stack, FAILING, ['SET GLOBAL read_only = ON']);
    const { error, ms } = await failureOf(write());
    expect(error).toMatchObject({ ...UNAVAILABLE, details: { failure: 'read-only' } });
    expect(ms).toBeLessThan(3_000);
    expect(await read(FAILING)).toHaveLength(1);
    expect((await instance.database.inspect(FAILING)).circuit).toBe('closed');
    await asAdmin(databases.stack, FAILING, ['SET GLOBAL read_only = OFF']);
    await write();
  });
});

describe('connections', () => {
  it('that are killed while idle are replaced unnoticed', async () => {
    await Promise.all(Array.from({ length: 4 }, () => read(FAILING)));
    await killConnections();
    const answers = await Promise.all(Array.from({ length: 8 }, () => read(FAILING)));
    expect(answers).toHaveLength(8);
  });

  it('that are killed under a statement cost a retry', async () => {
    let attempts = 0;
    const slow = onFailing((shard) => {
      attempts += 1;
      return shard.query(attempts === 1 ? 'SELECT SLEEP(3)' : 'SELECT 1', []);
    });
    await systemClock.sleep(200);
    await killConnections();
    expect(await slow).toHaveLength(1);
    expect(attempts).toBe(2);
  });

  it('on which a statement ran out of time are not used again', async () => {
    await useSmallPool();
    const { error, ms } = await failureOf(
      onFailing((shard) => shard.query('SELECT SLEEP(3) AS slept', []), 1_200),
    );
    expect(error).toMatchObject({ ...UNAVAILABLE, details: { failure: 'timeout' } });
    expect(ms).toBeLessThan(1_500);
    const startedAt = performance.now();
    expect(await read(FAILING)).toEqual([{ word: 'here' }]);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it('are waited for by a bounded number for a bounded time', async () => {
    await useSmallPool();
    const busy = onFailing((shard) => shard.query('SELECT SLEEP(1)', []));
    const waiting = failureOf(read(FAILING));
    await systemClock.sleep(10);
    expect((await failureOf(read(FAILING))).error).toMatchObject({
      code: 'too-many-requests',
      retryable: true,
    });
    const { error, ms } = await waiting;
    expect(error).toMatchObject({ ...UNAVAILABLE, details: { waiting: 0, limit: 1 } });
    expect(ms).toBeGreaterThan(250);
    expect(ms).toBeLessThan(700);
    await busy;
    expect((await instance.database.inspect(FAILING)).circuit).toBe('closed');
  });

  async function useSmallPool(): Promise<void> {
    await instance.database.close();
    const settings = {
      ...SETTINGS,
      SHARD_POOL_SIZE: '1',
      SHARD_POOL_QUEUE: '1',
      SHARD_ACQUIRE_TIMEOUT_MS: '300',
    };
    instance = createTestInstance(databases, { settings });
    await instance.database.prewarm();
  }

  async function killConnections(): Promise<void> {
    const ids = await instance.database.onShard(
      FAILING,
      (on) =>
        on.query('SELECT ID AS id FROM information_schema.PROCESSLIST WHERE DB = DATABASE()', []),
      PATIENT,
    );
    await asAdmin(
      databases.stack,
      FAILING,
      ids.map((row) => `KILL ${String(row['id'])}`),
    );
  }
});

describe('a transaction', () => {
  const touch = 'UPDATE bucket_ownership SET epoch = epoch WHERE bucket = ?';

  it('that is the victim of a deadlock is tried again', async () => {
    let attempts = 0;
    // Both hold their first row before they ask for the other's.
    let met = 0;
    const meet = async (): Promise<void> => {
      met += 1;
      for (let waits = 0; met < 2 && waits < 200; waits++) await systemClock.sleep(5);
    };
    const cross = (first: number, second: number): Promise<void> =>
      onFailing((shard) =>
        shard.transaction(async (tx) => {
          attempts += 1;
          await tx.execute(touch, [first]);
          await meet();
          await tx.execute(touch, [second]);
        }),
      );
    await Promise.all([cross(0, 3), cross(3, 0)]);
    expect(attempts).toBe(3);
    expect((await instance.database.inspect(FAILING)).circuit).toBe('closed');
  });

  it('does not go on after the server has rolled it back', async () => {
    let attempts = 0;
    const holder = onFailing((shard) =>
      shard.transaction(async (tx) => {
        await tx.execute(touch, [0]);
        await systemClock.sleep(1_800);
      }),
    );
    await systemClock.sleep(100);
    await onFailing((shard) =>
      shard.transaction(
        async (tx) => {
          attempts += 1;
          await tx.execute(touch, [3]);
          // Swallowing the failure must not commit the rest.
          await tx.execute(touch, [0]).catch(() => undefined);
        },
        { lockWaitSeconds: 1 },
      ),
    );
    expect(attempts).toBe(2);
    await holder;
  });

  it('leaves nothing behind when it throws', async () => {
    const insert =
      "INSERT INTO bucket_ownership (bucket, state, epoch, updated_at) VALUES (?, 'owned', 1, '2026-01-01 00:00:00')";
    await expect(
      onFailing((shard) =>
        shard.transaction(async (tx) => {
          await tx.execute(insert, [1]);
          throw new TypeError('mine');
        }),
      ),
    ).rejects.toThrow(TypeError);
    await expect(
      onFailing((shard) => shard.packet([insert.replace('?', '1'), insert.replace('?', '1')])),
    ).rejects.toMatchObject({ failure: 'duplicate', retryable: false });
    const rows = await onFailing((shard) =>
      shard.packet(['SELECT COUNT(*) AS n FROM bucket_ownership WHERE bucket = 1']),
    );
    expect(rows).toEqual([[{ n: '0' }]]);
    const open = await onFailing((shard) =>
      shard.query(
        'SELECT COUNT(*) AS n FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND COMMAND <> ?',
        ['Sleep'],
      ),
    );
    expect(Number(open[0]?.['n'])).toBe(1); // This very statement.
  });

  it('refuses statements after its end', async () => {
    const late = await onFailing((shard) =>
      shard.transaction((tx) => Promise.resolve(() => tx.execute(touch, [0]))),
    );
    await expect(late()).rejects.toMatchObject({ code: 'internal' });
  });
});

describe('a packet', () => {
  it('gives one result per statement', async () => {
    const touchOne = 'UPDATE bucket_ownership SET epoch = epoch WHERE bucket = 0';
    const results = await onFailing((shard) =>
      shard.packet([
        'SELECT LAST_INSERT_ID(0)',
        touchOne,
        `SELECT ${shard.literal("it's; -- fine")} AS text, ${shard.literal(null)} AS nothing, ${shard.literal(Buffer.from([0, 255]))} AS bytes, ${shard.literal(9_223_372_036_854_775_807n)} AS big`,
      ]),
    );
    expect(results[1]).toEqual({ affectedRows: 1, insertId: 0 });
    expect(results[2]).toEqual([
      {
        text: "it's; -- fine",
        nothing: null,
        bytes: Buffer.from([0, 255]),
        big: '9223372036854775807',
      },
    ]);
    expect(results).toHaveLength(3);
  });

  it('is refused when it is too large', async () => {
    await expect(
      onFailing((shard) => shard.packet([`SELECT '${'x'.repeat(9 * 1024 * 1024)}'`])),
    ).rejects.toMatchObject({ code: 'internal' });
  });
});
