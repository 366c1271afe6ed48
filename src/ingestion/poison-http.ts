import { z } from 'zod';
import { defineRoute, type Route } from '../http/handler.ts';
import { wholeNumberText } from '../kernel/schemas.ts';

/** Queues whose messages may be looked at and sent back. */
const queueName = z
  .enum(['orders', 'sagas'])
  .meta({ description: 'The queue whose poison messages are meant.' });

/** The service shows at most 32 messages at once. */
const MAX_SHOWN = 32;
const MAX_REDRIVEN = 10_000;
const DEFAULT_REDRIVEN = 1_000;

const poisonSchema = z
  .object({
    queue: queueName,
    /** Approximate. */
    length: z.int(),
    messages: z.array(
      z.object({
        id: z.string(),
        insertedAt: z.string(),
        dequeueCount: z.int(),
        text: z.string(),
      }),
    ),
  })
  .meta({ id: 'PoisonMessages' });

const listPoison = defineRoute({
  name: 'ops-poison-list',
  method: 'GET',
  route: 'ops/poison',
  auth: 'admin',
  tag: 'Operations',
  summary: 'Look at messages that could not be carried out',
  query: z.strictObject({
    queue: queueName,
    limit: wholeNumberText({ min: 1, max: MAX_SHOWN }).default(MAX_SHOWN),
  }),
  responses: {
    200: { description: 'How many there are, and the oldest of them.', body: poisonSchema },
  },
  handle: async ({ query, services }) => {
    const name = poisonQueue(query.queue);
    const [length, messages] = [
      await services.queues.length(name),
      await services.queues.peek(name, query.limit),
    ];
    return { status: 200, body: { queue: query.queue, length, messages } };
  },
});

const redrivePoison = defineRoute({
  name: 'ops-poison-redrive',
  method: 'POST',
  route: 'ops/poison/redrive',
  auth: 'admin',
  tag: 'Operations',
  summary: 'Send messages back to be tried again',
  description:
    'Oldest first. What cannot be carried out still comes back to the poison queue; nothing is inserted twice.',
  body: z
    .strictObject({
      queue: queueName,
      max: z.int().min(1).max(MAX_REDRIVEN).default(DEFAULT_REDRIVEN),
    })
    .meta({ id: 'RedrivePoison' }),
  responses: {
    200: {
      description: 'How many were sent back.',
      body: z.object({ queue: queueName, moved: z.int() }).meta({ id: 'PoisonRedriven' }),
    },
  },
  handle: async ({ body, services, logger }) => {
    const moved = await services.queues.move(poisonQueue(body.queue), body.queue, body.max);
    logger.log('warn', 'ingestion.poison_redriven', { queue: body.queue, moved });
    return { status: 200, body: { queue: body.queue, moved } };
  },
});

/** Where the host puts them. */
function poisonQueue(queue: string): string {
  return `${queue}-poison`;
}

export const poisonRoutes: readonly Route[] = [listPoison, redrivePoison];
