import { createConnection } from 'mysql2/promise';
import type { Connection, ResultSetHeader } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ShardConnection } from '../../local/shards/settings.ts';
import { fenceBucket, readOwnership, unfenceBucket } from '../../src/database/ownership.ts';
import { FENCE_BUCKET } from '../../src/database/statements.ts';
import type { Shard } from '../../src/database/contracts.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { OrderId, ShardId, UserId } from '../../src/kernel/ids.ts';
import type { AmountCents } from '../../src/kernel/money.ts';
import type { Timestamp } from '../../src/kernel/time.ts';
import { assertOwned, insertOrders, RESET_COUNTER } from '../../src/orders/batch-statements.ts';
import { rowSetOf } from '../../src/orders/row-set.ts';
import { INSERT_ORDER } from '../../src/orders/statements.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import { createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createRandom } from '../support/random.ts';
import { createTestInstance } from '../support/test-database.ts';
import type { TestInstance } from '../support/test-database.ts';

/**
 * The fence (I1, I2): once the fencer's UPDATE is granted, no row of the bucket appears any more, and every write that
 * was acknowledged is there. With the service's own statements, on both isolation levels, and with a control that
 * leaves the lock clause out and must leak: otherwise the test could not fail.
 *
 * TEST_LONG=1 runs 100 rounds of each; SEED repeats the moments of a run (not the interleaving).
 */
const ROUNDS = process.env['TEST_LONG'] === '1' ? 100 : 8;
const WRITERS = 32;
const USER = '1001' as UserId;
const BUCKET = bucketOf(USER);
/** 1001 → bucket 195 → shard 195 mod 3. */
const OWNER = 0 as ShardId;
const CREATED_AT = '2026-01-31T09:30:00.000Z' as Timestamp;
const CREATED_AT_SQL = '2026-01-31 09:30:00.000';
const PATIENT = { deadlineMs: 30_000 };

const random = createRandom();

type Isolation = 'REPEATABLE READ' | 'READ COMMITTED';
/** Tries to write the orders; true when acknowledged, false when refused. Throws nothing else than a failed test. */
type Write = (writer: Connection, orderIds: readonly string[]) => Promise<boolean>;
interface Form {
  readonly name: string;
  readonly ordersPerWrite: number;
  readonly write: (locked: boolean) => Write;
}

let databases: TestDatabases;
let instance: TestInstance;
let writers: Connection[];
let nextOrder = 1;

beforeAll(async () => {
  databases = await createTestDatabases();
  instance = createTestInstance(databases);
  await onOwner((shard) =>
    shard.execute(
      'INSERT INTO users (bucket, user_id, email, email_key, created_at) VALUES (?, ?, ?, ?, ?)',
      [BUCKET, USER, 'a@example.com', Buffer.alloc(32, 1), CREATED_AT_SQL],
    ),
  );
  const { host, port, user, password, database } = databases.shards[OWNER] as ShardConnection;
  writers = await Promise.all(
    Array.from({ length: WRITERS }, () =>
      createConnection({ host, port, user, password, database, multipleStatements: true }),
    ),
  );
});

afterAll(async () => {
  for (const writer of writers) writer.destroy();
  await instance.database.close();
  await databases.drop();
});

function onOwner<T>(run: (shard: Shard) => Promise<T>): Promise<T> {
  return instance.database.onShard(OWNER, run, PATIENT);
}

const withoutLock = (text: string): string => text.replaceAll('LOCK IN SHARE MODE', '');

async function insertOne(writer: Connection, text: string, orderId: string): Promise<boolean> {
  const values = [orderId, 100, CREATED_AT_SQL, USER, BUCKET, 0];
  const [result] = await writer.execute<ResultSetHeader>(text, values);
  return result.affectedRows === 1;
}

const FORMS: readonly Form[] = [
  {
    name: 'single statement',
    ordersPerWrite: 1,
    write: (locked) => (writer, orderIds) =>
      insertOne(writer, locked ? INSERT_ORDER : withoutLock(INSERT_ORDER), orderIds[0] as string),
  },
  {
    // The second insert finds a fence that came between; the snapshot is older than both.
    name: 'two statements behind an old snapshot',
    ordersPerWrite: 2,
    write: (locked) => async (writer, orderIds) => {
      const text = locked ? INSERT_ORDER : withoutLock(INSERT_ORDER);
      await writer.query('START TRANSACTION');
      await writer.query('SELECT state FROM bucket_ownership WHERE bucket = ?', [BUCKET]);
      let written = true;
      for (const orderId of orderIds) {
        written = written && (await insertOne(writer, text, orderId));
        await systemClock.sleep(random.below(3));
      }
      await writer.query(written ? 'COMMIT' : 'ROLLBACK');
      return written;
    },
  },
  {
    name: 'packet of a batch',
    ordersPerWrite: 5,
    write: (locked) => async (writer, orderIds) => {
      const rows = orderIds.map((orderId) => ({
        bucket: BUCKET,
        orderId: orderId as OrderId,
        userId: USER,
        amountCents: 100 as AmountCents,
        createdAt: CREATED_AT,
        createdAtGiven: true,
      }));
      const assertion = locked ? assertOwned([BUCKET]) : withoutLock(assertOwned([BUCKET]));
      const packet = [
        'START TRANSACTION',
        assertion,
        RESET_COUNTER,
        insertOrders(rowSetOf(rows)),
        'COMMIT',
      ];
      try {
        await writer.query(packet.join(';'));
        return true;
      } catch (error) {
        await writer.query('ROLLBACK');
        if ((error as { errno?: number }).errno === 1242) return false;
        throw error;
      }
    },
  },
];

interface RoundFigures {
  readonly acknowledged: number;
  /** Rows that appeared after the fence was granted. */
  readonly late: number;
  /** Acknowledged orders without a row. */
  readonly lost: number;
  readonly fenceMs: number;
}

async function orderIdsOn(shard: Pick<Shard, 'query'>): Promise<Set<string>> {
  const rows = await shard.query('SELECT order_id FROM orders WHERE bucket = ?', [BUCKET]);
  return new Set(rows.map((row) => String(row['order_id'])));
}

/**
 * Fences and lists the rows. On even rounds before the fence commits: nobody was told yet, but the lock is granted, so
 * that every writer of before must have committed. On odd rounds after it was acknowledged, the way a mover does it.
 */
function fenceAndList(round: number): Promise<Set<string>> {
  const change = { bucket: BUCKET, epoch: 1, nowMs: systemClock.nowMs() };
  return onOwner(async (shard) => {
    if (round % 2 === 1) {
      if (!(await fenceBucket(shard, change))) throw new Error('the bucket was not owned');
      return orderIdsOn(shard);
    }
    return shard.transaction(
      async (tx) => {
        const values = [null, null, CREATED_AT_SQL, BUCKET, 1];
        const { affectedRows } = await tx.execute(FENCE_BUCKET, values);
        if (affectedRows !== 1) throw new Error('the bucket was not owned');
        return orderIdsOn(tx);
      },
      { lockWaitSeconds: 1 },
    );
  });
}

async function runRound(round: number, form: Form, write: Write): Promise<RoundFigures> {
  const acknowledged: string[] = [];
  const loops = writers.map(async (writer) => {
    for (;;) {
      const orderIds = Array.from({ length: form.ordersPerWrite }, () => String(nextOrder++));
      if (!(await write(writer, orderIds))) return;
      acknowledged.push(...orderIds);
    }
  });
  await systemClock.sleep(10 + random.below(60));
  const startedAt = performance.now();
  const atFence = await fenceAndList(round);
  const fenceMs = performance.now() - startedAt;
  await Promise.all(loops);
  const atEnd = await onOwner(orderIdsOn);
  await onOwner((shard) => shard.execute('DELETE FROM orders WHERE bucket = ?', [BUCKET]));
  const change = { bucket: BUCKET, epoch: 1, nowMs: systemClock.nowMs() };
  if (!(await onOwner((shard) => unfenceBucket(shard, change)))) throw new Error('not unfenced');
  return {
    acknowledged: acknowledged.length,
    late: atEnd.size - atFence.size,
    lost: acknowledged.filter((orderId) => !atEnd.has(orderId)).length,
    fenceMs,
  };
}

async function isolate(isolation: Isolation): Promise<void> {
  for (const writer of writers) {
    await writer.query(`SET SESSION TRANSACTION ISOLATION LEVEL ${isolation}`);
  }
}

function report(title: string, rounds: readonly RoundFigures[]): RoundFigures {
  const sum = (key: keyof RoundFigures): number =>
    rounds.reduce((total, round) => total + round[key], 0);
  const slowest = Math.max(...rounds.map((round) => round.fenceMs));
  const total = { acknowledged: sum('acknowledged'), late: sum('late'), lost: sum('lost') };
  console.log(
    `fence, ${databases.engine}, ${title}: ${rounds.length} rounds, ${WRITERS} writers, ` +
      `${total.acknowledged} rows acknowledged, ${total.late} late, ${total.lost} lost, ` +
      `slowest fence ${slowest.toFixed(0)} ms (seed ${random.seed})`,
  );
  return { ...total, fenceMs: slowest };
}

describe.each<Isolation>(['READ COMMITTED', 'REPEATABLE READ'])(
  'the fence under %s',
  (isolation) => {
    it.each(FORMS)(
      'holds for a $name',
      async (form) => {
        await isolate(isolation);
        const rounds: RoundFigures[] = [];
        for (let round = 0; round < ROUNDS; round++) {
          rounds.push(await runRound(round, form, form.write(true)));
        }
        const total = report(`${isolation}, ${form.name}`, rounds);
        expect(total).toMatchObject({ late: 0, lost: 0 });
        // Rounds in which nobody wrote before the fence would prove nothing.
        expect(total.acknowledged).toBeGreaterThan(ROUNDS * 10);
      },
      600_000,
    );
  },
);

describe('the control: without the lock clause, under READ COMMITTED,', () => {
  it.each(FORMS)(
    'rows slip in behind the fence with a $name',
    async (form) => {
      await isolate('READ COMMITTED');
      const rounds: RoundFigures[] = [];
      while (rounds.length < 200 && !rounds.some((round) => round.late > 0)) {
        rounds.push(await runRound(rounds.length, form, form.write(false)));
      }
      expect(report(`control, ${form.name}`, rounds).late).toBeGreaterThan(0);
    },
    600_000,
  );
});

describe('fence and unfence', () => {
  it('change the state only from the expected one, at the expected epoch', async () => {
    const change = { bucket: BUCKET, epoch: 1, nowMs: systemClock.nowMs() };
    await onOwner(async (shard) => {
      expect(await unfenceBucket(shard, change)).toBe(false);
      expect(await fenceBucket(shard, { ...change, epoch: 2 })).toBe(false);
      expect(await fenceBucket(shard, change)).toBe(true);
      expect(await fenceBucket(shard, change)).toBe(false);
      expect(await readOwnership(shard, BUCKET)).toEqual({
        state: 'fenced',
        epoch: 1,
        movedTo: null,
      });
      expect(await unfenceBucket(shard, change)).toBe(true);
      expect((await readOwnership(shard, BUCKET)).state).toBe('owned');
    });
  });

  it('waits at most a second behind a slow writer and leaves the session as it was', async () => {
    const [slow] = writers;
    const change = { bucket: BUCKET, epoch: 1, nowMs: systemClock.nowMs() };
    await slow?.query('START TRANSACTION');
    await insertOne(slow as Connection, INSERT_ORDER, '900000000');
    const startedAt = performance.now();
    const fenced = instance.database.onShard(OWNER, (shard) => fenceBucket(shard, change), {
      deadlineMs: 10_000,
    });
    await systemClock.sleep(1_500);
    await slow?.query('COMMIT');
    expect(await fenced).toBe(true);
    expect(performance.now() - startedAt).toBeLessThan(4_000);
    // The first try gave up after its second and was repeated.
    expect(
      instance.logger.events.filter((event) => event.event === 'database.attempt_failed'),
    ).toHaveLength(1);
    await onOwner((shard) => unfenceBucket(shard, change));
    const waits = await onOwner((shard) =>
      shard.query('SELECT @@SESSION.innodb_lock_wait_timeout AS wait', []),
    );
    expect(Number(waits[0]?.['wait'])).toBe(5);
  });
});
