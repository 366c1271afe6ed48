import { z } from 'zod';
import { defineRoute } from '../../src/http/handler.ts';
import { amountCentsSchema, userIdSchema, wholeNumberText } from '../../src/kernel/schemas.ts';
import { createFakeServices } from './fake-services.ts';
import { createRouteCaller } from './route-caller.ts';

/** What a route has to say of itself, whatever it does. */
export const facts = {
  name: 'test',
  route: 'test/{userId}',
  auth: 'function',
  tag: 'Test',
  summary: 'A test',
  responses: { 200: { description: 'ok' } },
} as const;

/** Answers what it was asked, in its canonical form. */
export const echo = defineRoute({
  ...facts,
  method: 'POST',
  params: z.object({ userId: userIdSchema }),
  query: z.strictObject({ limit: wholeNumberText({ min: 1, max: 10 }).default(5) }),
  headers: z.object({ 'idempotency-key': z.string().max(5).optional() }),
  body: z.strictObject({ amountCents: amountCentsSchema, note: z.string().optional() }),
  handle: ({ params, query, headers, body }) =>
    Promise.resolve({ status: 200, body: { params, query, headers, body } }),
});

/** A request that {@link echo} takes. */
export const good = { params: { userId: '1001' }, json: { amountCents: 5 } };
/** Bodies of at most 1 024 bytes. */
export const services = createFakeServices({}, { MAX_BODY_BYTES: '1024' });
export const call = createRouteCaller(services, [echo]);
