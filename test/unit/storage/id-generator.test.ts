import { describe, expect, test } from 'vitest';
import { readSnowflake, WORKER_COUNT } from '../../../src/sharding/snowflake.ts';
import { createIdGenerator } from '../../../src/storage/id-generator.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';
import type { FakeClock } from '../../support/fake-clock.ts';
import { createMemoryLeases } from '../../support/memory-control.ts';
import type { MemoryLeases } from '../../support/memory-control.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';

function generatorOn(leases: MemoryLeases, clock: FakeClock, random = () => 0) {
  const logger = createRecordingLogger();
  const generator = createIdGenerator({
    leases,
    clock,
    random,
    logger,
    leaseSeconds: 30,
    startTimer: (ms, run) => clock.startTimer(ms, run),
  });
  return { generator, logger };
}

function createScene() {
  const clock = createFakeClock();
  const leases = createMemoryLeases(clock);
  return { clock, leases, ...generatorOn(leases, clock) };
}

const workerOf = (id: string): number => readSnowflake(BigInt(id)).worker;

describe('a worker number', () => {
  test('is leased with the first id, not before', async () => {
    const { generator } = createScene();
    await settle();
    expect(generator.worker()).toBeUndefined();
    const id = await generator.nextOrderId();
    expect(workerOf(id)).toBe(generator.worker());
  });

  test('is leased once for callers who come together', async () => {
    const { generator, logger } = createScene();
    const ids = await Promise.all(Array.from({ length: 100 }, () => generator.nextUserId()));
    expect(new Set(ids).size).toBe(100);
    expect(logger.events.filter(({ event }) => event.endsWith('leased'))).toHaveLength(1);
  });

  test('is renewed at a third of the lease, for ever', async () => {
    const { clock, generator } = createScene();
    await generator.nextOrderId();
    const worker = generator.worker();
    for (let minute = 0; minute < 5; minute += 1) {
      await clock.advance(60_000);
      expect(workerOf(await generator.nextOrderId())).toBe(worker);
    }
  });

  test('is never shared by generators that start together', async () => {
    const { clock, leases } = createScene();
    const all = Array.from({ length: 8 }, () => generatorOn(leases, clock).generator);
    await Promise.all(all.map((generator) => generator.nextOrderId()));
    expect(new Set(all.map((generator) => generator.worker())).size).toBe(8);
  });

  test('is given back at the end, and no id comes after it', async () => {
    const { clock, leases, generator } = createScene();
    const last = readSnowflake(BigInt(await generator.nextOrderId()));
    await generator.close();
    expect(leases.promised(last.worker)).toBe(last.timeMs);
    await expect(generator.nextOrderId()).rejects.toMatchObject({ code: 'storage-unavailable' });
    expect(clock.waiting()).toBe(0);
    await clock.advance(1);
    const next = generatorOn(leases, clock).generator;
    expect(workerOf(await next.nextOrderId())).toBe(last.worker);
  });

  test('leased while the app is closing is given back at once', async () => {
    const { leases, generator } = createScene();
    const asked = expect(generator.nextOrderId()).rejects.toMatchObject({ retryable: true });
    await generator.close();
    await asked;
    expect(generator.worker()).toBeUndefined();
    expect(await leases.tryAcquire(0, 30)).toBeDefined();
  });
});

describe('a lease that is lost', () => {
  test('ends issuing at the next renewal, and another number is taken', async () => {
    const { clock, leases, generator, logger } = createScene();
    await generator.nextOrderId();
    const lost = generator.worker() as number;
    leases.breakLease(lost);
    await leases.tryAcquire(lost, 60);
    await clock.advance(10_000);
    expect(generator.worker()).toBeUndefined();
    expect(logger.events.at(-1)).toMatchObject({ event: 'ids.worker_number_lost' });
    expect(workerOf(await generator.nextOrderId())).not.toBe(lost);
  });

  test('that may be lost ends issuing before the service would give the number away', async () => {
    const { clock, leases, generator } = createScene();
    await generator.nextOrderId();
    leases.down = true;
    await clock.advance(26_000);
    await expect(generator.nextOrderId()).resolves.toBeDefined();
    await clock.advance(1_000);
    await expect(generator.nextOrderId()).rejects.toMatchObject({ code: 'storage-unavailable' });
    leases.down = false;
    await expect(generator.nextOrderId()).resolves.toBeDefined();
  });

  test('survives a storage account that is away for less than that', async () => {
    const { clock, leases, generator, logger } = createScene();
    await generator.nextOrderId();
    const worker = generator.worker();
    leases.down = true;
    await clock.advance(20_000);
    leases.down = false;
    await clock.advance(2_000);
    await clock.advance(20_000);
    expect(workerOf(await generator.nextOrderId())).toBe(worker);
    expect(logger.events.some(({ event }) => event === 'ids.renewal_failed')).toBe(true);
  });
});

describe('clocks', () => {
  test('a number whose last holder was ahead is passed over for one without such a past', async () => {
    const { clock, leases, generator, logger } = createScene();
    leases.leavePromise(0, clock.nowMs() + 5_000);
    const id = await generator.nextOrderId();
    expect(workerOf(id)).not.toBe(0);
    expect(logger.events[0]).toMatchObject({
      event: 'ids.worker_number_refused',
      fields: { worker: 0, behindMs: 5_001 },
    });
  });

  test('when all numbers have such a past, up to 30 seconds are waited out', async () => {
    const { clock, leases, generator } = createScene();
    const promised = clock.nowMs() + 5_000;
    for (let worker = 0; worker < WORKER_COUNT; worker += 1) leases.leavePromise(worker, promised);
    const asked = generator.nextOrderId();
    await clock.advance(5_001);
    expect(readSnowflake(BigInt(await asked)).timeMs).toBeGreaterThan(promised);
  });

  test('and more than that is refused with an error', async () => {
    const { clock, leases, generator } = createScene();
    const promised = clock.nowMs() + 60_000;
    for (let worker = 0; worker < WORKER_COUNT; worker += 1) leases.leavePromise(worker, promised);
    await expect(generator.nextOrderId()).rejects.toMatchObject({
      code: 'storage-unavailable',
      details: { reason: 'the clock is behind that of earlier instances' },
    });
  });

  test('a small step back is waited out', async () => {
    const { clock, generator } = createScene();
    const before = await generator.nextOrderId();
    clock.stepWall(-100);
    const asked = generator.nextOrderId();
    await clock.advance(101);
    expect(BigInt(await asked)).toBeGreaterThan(BigInt(before));
  });

  test('a large step back takes another number instead of waiting', async () => {
    const { clock, generator, logger } = createScene();
    const before = await generator.nextOrderId();
    clock.stepWall(-3_600_000);
    const after = await generator.nextOrderId();
    expect(workerOf(after)).not.toBe(workerOf(before));
    expect(logger.events).toContainEqual(
      expect.objectContaining({ fields: { worker: workerOf(before), reason: 'clock-behind' } }),
    );
  });

  test('a jump ahead of the promise stores a new promise before the next id', async () => {
    const { clock, leases, generator } = createScene();
    await generator.nextOrderId();
    clock.stepWall(3_600_000);
    const { worker, timeMs } = readSnowflake(BigInt(await generator.nextOrderId()));
    expect(leases.promised(worker)).toBeGreaterThanOrEqual(timeMs);
  });
});

test('more ids than a millisecond holds wait for the next one', async () => {
  const { clock, generator } = createScene();
  const all = Promise.all(Array.from({ length: 5_000 }, () => generator.nextOrderId()));
  await settle();
  await clock.advance(1);
  expect(new Set(await all).size).toBe(5_000);
});
