import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { defineRoute } from '../../../src/http/handler.ts';
import {
  callerOf,
  createRateLimiter,
  takeToken,
  type TokenLevel,
} from '../../../src/http/rate-limit.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createFakeServices } from '../../support/fake-services.ts';
import { createRouteCaller } from '../../support/route-caller.ts';

const asked = (url: string, headers: Record<string, string> = {}) => ({
  url: `http://localhost/api/x${url}`,
  headers: new Headers(headers),
});

describe('a token bucket', () => {
  test('never lets more through than its burst and what came in meanwhile, and no fewer', () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 300 });
    const rates = fc.record({
      perSecond: fc.integer({ min: 1, max: 50 }),
      burst: fc.integer({ min: 1, max: 100 }),
    });
    fc.assert(
      fc.property(gaps, rates, (waits, limit) => {
        let level: TokenLevel | undefined;
        let nowMs = 0;
        let taken = 0;
        let waitedFor = 0;
        for (const gap of waits) {
          nowMs += gap;
          const { level: after, waitMs } = takeToken(level, nowMs, limit);
          if (waitMs === 0) taken += 1;
          // Whoever waits as long as told gets one.
          else if (takeToken(after, nowMs + waitMs, limit).waitMs > 0) waitedFor += 1;
          level = after;
        }
        expect(waitedFor).toBe(0);
        expect(taken).toBeLessThanOrEqual(limit.burst + (nowMs * limit.perSecond) / 1_000 + 1e-6);
        expect(taken).toBeGreaterThanOrEqual(Math.min(waits.length, limit.burst));
      }),
    );
  });
});

describe('the limiter', () => {
  test('counts each caller alone, and tells how long to wait', async () => {
    const clock = createFakeClock();
    const limiter = createRateLimiter(1, clock);
    limiter?.('a');
    limiter?.('a');
    expect(() => limiter?.('a')).toThrow(
      expect.objectContaining({ code: 'too-many-requests', retryAfterSeconds: 1 }),
    );
    expect(() => limiter?.('b')).not.toThrow();
    await clock.advance(1_000);
    expect(() => limiter?.('a')).not.toThrow();
    expect(() => limiter?.('a')).toThrow(/more than 1 requests/i);
  });

  test('is none at 0', () => {
    expect(createRateLimiter(0, createFakeClock())).toBeUndefined();
  });

  test('remembers a bounded number of callers', () => {
    const limiter = createRateLimiter(1, createFakeClock());
    const use = (caller: string): void => limiter?.(caller);
    use('first');
    use('first');
    for (let caller = 0; caller < 10_000; caller += 1) use(`caller ${caller}`);
    expect(() => use('first')).not.toThrow();
    use('caller 9999');
    expect(() => use('caller 9999')).toThrow(/requests per second/);
  });
});

describe('a caller', () => {
  test('is known by the key, wherever it stands, which is not kept', () => {
    const byHeader = callerOf(asked('', { 'x-functions-key': 'secret' }));
    expect(byHeader).toBe(callerOf(asked('?code=secret', { 'x-forwarded-for': '10.0.0.1' })));
    expect(byHeader).not.toContain('secret');
    expect(byHeader).not.toBe(callerOf(asked('?code=other')));
  });

  test('is known by the address that the front end saw, which a caller cannot choose', () => {
    const forwarded = { 'x-forwarded-for': '1.2.3.4, 10.0.0.1:4711' };
    expect(callerOf(asked('', forwarded))).toBe('address 10.0.0.1:4711');
    expect(callerOf(asked(''))).toBe('anybody');
  });
});

test('a route of the business answers 429 with Retry-After, one of operations is never limited', async () => {
  const facts = { method: 'GET', tag: 'Test', summary: 'A test' } as const;
  const responses = { 200: { description: 'ok', body: z.object({}) } };
  const handle = () => Promise.resolve({ status: 200, body: {} });
  const route = (name: string, auth: 'function' | 'admin') =>
    defineRoute({ ...facts, name, route: name, auth, responses, handle });
  const services = createFakeServices({ clock: createFakeClock() }, { HTTP_RATE_PER_SECOND: '1' });
  const call = createRouteCaller(services, [route('orders', 'function'), route('ops', 'admin')]);
  const statuses: number[] = [];
  for (let request = 0; request < 3; request += 1) statuses.push((await call('orders')).status);
  expect(statuses).toEqual([200, 200, 429]);
  const refused = await call('orders');
  expect(refused.headers['retry-after']).toBe('1');
  expect(refused.json).toMatchObject({ code: 'too-many-requests', status: 429 });
  for (let request = 0; request < 5; request += 1) expect((await call('ops')).status).toBe(200);
});
