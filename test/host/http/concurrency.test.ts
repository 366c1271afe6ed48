import { expect, test } from 'vitest';
import { RequestGate } from '../../../local/host/http/concurrency.ts';

test('requests above maxConcurrentRequests wait in order, above maxOutstandingRequests are refused', async () => {
  const gate = new RequestGate({ maxConcurrentRequests: 1, maxOutstandingRequests: 3 });
  const order: string[] = [];
  const leaveFirst = await gate.enter();
  const second = gate.enter().then((leave) => {
    order.push('second');
    return leave;
  });
  const third = gate.enter().then((leave) => {
    order.push('third');
    return leave;
  });
  expect(await gate.enter()).toBeUndefined();
  expect(order).toEqual([]);
  leaveFirst?.();
  (await second)?.();
  (await third)?.();
  expect(order).toEqual(['second', 'third']);
  expect(await gate.enter()).toBeDefined();
});

test('-1 means unlimited', async () => {
  const gate = new RequestGate({ maxConcurrentRequests: -1, maxOutstandingRequests: -1 });
  for (let count = 0; count < 1000; count += 1) expect(await gate.enter()).toBeDefined();
});

test('a closed gate lets nobody in and tells when the last one has left', async () => {
  const gate = new RequestGate({ maxConcurrentRequests: -1, maxOutstandingRequests: -1 });
  const leave = await gate.enter();
  let isIdle = false;
  const closed = gate.close().then(() => (isIdle = true));
  expect(await gate.enter()).toBeUndefined();
  expect(isIdle).toBe(false);
  leave?.();
  await closed;
  expect(isIdle).toBe(true);
});
