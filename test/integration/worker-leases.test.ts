import { afterAll, afterEach, beforeAll, describe, expect, test, type TestContext } from 'vitest';
import { systemClock } from '../../src/kernel/clock.ts';
import { readSnowflake } from '../../src/sharding/snowflake.ts';
import { createIdGenerator, startUnrefTimer } from '../../src/storage/id-generator.ts';
import { createWorkerLeases } from '../../src/storage/worker-lease.ts';
import { createTestDatabases } from '../support/cluster.ts';
import type { TestDatabases } from '../support/cluster.ts';
import { createRecordingLogger } from '../support/recording-logger.ts';
import { createTestStorage } from '../support/storage.ts';

let databases: TestDatabases;

beforeAll(async () => {
  databases = await createTestDatabases();
});
afterAll(() => databases.drop());

interface InstanceOptions {
  readonly scene: string;
  readonly random?: () => number;
  /** A holder that never renews, as one that was killed. */
  readonly neverRenews?: boolean;
}

/** Closed at the end of the test that is given. */
function instance(
  { onTestFinished }: Pick<TestContext, 'onTestFinished'>,
  options: InstanceOptions,
) {
  const clients = createTestStorage({
    ...databases,
    prefix: `${databases.prefix}-${options.scene}`,
  });
  const logger = createRecordingLogger();
  const generator = createIdGenerator({
    leases: createWorkerLeases(clients),
    leaseSeconds: 15,
    clock: systemClock,
    random: options.random ?? Math.random,
    logger,
    startTimer: options.neverRenews === true ? () => () => undefined : startUnrefTimer,
  });
  onTestFinished(() => generator.close());
  return { generator, logger };
}

const partsOf = (id: string) => readSnowflake(BigInt(id));

test('ids of 8 instances that work at once never collide, though all want the same number', async (context) => {
  const all = Array.from({ length: 8 }, () =>
    instance(context, { scene: 'many', random: () => 0 }),
  );
  const ids = await Promise.all(
    all.map(async ({ generator }) => {
      const own: string[] = [];
      for (let n = 0; n < 20_000; n += 1) own.push(await generator.nextOrderId());
      return own;
    }),
  );
  expect(new Set(ids.flat()).size).toBe(160_000);
  expect(new Set(all.map(({ generator }) => generator.worker())).size).toBe(8);
});

// Side by side, because they only wait.
describe.concurrent('after the length of a lease', () => {
  test('a number is renewed past its lease, so that nobody else gets it', async (context) => {
    const { generator } = instance(context, { scene: 'renew', random: () => 0 });
    const first = partsOf(await generator.nextOrderId());
    await systemClock.sleep(17_000);
    const other = instance(context, { scene: 'renew', random: () => 0 });
    expect(partsOf(await other.generator.nextOrderId()).worker).not.toBe(first.worker);
    expect(partsOf(await generator.nextOrderId()).worker).toBe(first.worker);
  });

  test('the number of a holder that died is free after its lease, and starts above what it promised', async (context) => {
    const dead = instance(context, { scene: 'dead', random: () => 0, neverRenews: true });
    const last = partsOf(await dead.generator.nextOrderId());
    const next = instance(context, { scene: 'dead', random: () => 0 });
    expect(partsOf(await next.generator.nextOrderId()).worker).not.toBe(last.worker);
    await systemClock.sleep(15_500);
    const heir = instance(context, { scene: 'dead', random: () => 0 });
    const first = partsOf(await heir.generator.nextOrderId());
    expect(first.worker).toBe(last.worker);
    expect(first.timeMs).toBeGreaterThan(last.timeMs + 15_000);
    // Had the first one only slept, it would notice by itself and take another number.
    expect(partsOf(await dead.generator.nextOrderId()).worker).not.toBe(last.worker);
  });
});

test('a number given back is free at once', async (context) => {
  const { generator } = instance(context, { scene: 'back', random: () => 0 });
  const last = partsOf(await generator.nextOrderId());
  await generator.close();
  const next = partsOf(
    await instance(context, { scene: 'back', random: () => 0 }).generator.nextUserId(),
  );
  expect(next.worker).toBe(last.worker);
  expect(next.timeMs).toBeGreaterThan(last.timeMs);
});

describe('while the storage is away', () => {
  afterEach(() => databases.recover());

  test('a holder goes on until its lease may be over; then errors; then ids again', async (context) => {
    const { generator, logger } = instance(context, { scene: 'away' });
    await generator.nextOrderId();
    await databases.stack.stopStorage();
    await expect(generator.nextOrderId()).resolves.toBeDefined();
    await systemClock.sleep(14_000);
    await expect(generator.nextOrderId()).rejects.toMatchObject({
      code: 'storage-unavailable',
      retryable: true,
    });
    expect(logger.events.map(({ event }) => event)).toContain('ids.renewal_failed');
    await databases.stack.startStorage();
    await expect(generator.nextOrderId()).resolves.toBeDefined();
  });

  test('a start is refused soon', async (context) => {
    await databases.stack.stopStorage();
    const startMs = performance.now();
    const { generator } = instance(context, { scene: 'cold' });
    await expect(generator.nextOrderId()).rejects.toMatchObject({ code: 'storage-unavailable' });
    expect(performance.now() - startMs).toBeLessThan(5_000);
  });
});
