import { z } from 'zod';

/** The demonstration's client: plain HTTP, as any caller would use it. */
export interface Api {
  send(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Reply>;
  /** As {@link send}, but tells of a 429 or 503 instead of coming back. */
  sendOnce(method: string, path: string, body?: unknown): Promise<Reply>;
}

export interface Reply {
  readonly status: number;
  readonly replayed: boolean;
  readonly body: unknown;
}

/** Tries of a request that was answered 429 or 503, and the wait between them, milliseconds. */
const TRIES = 20;
const WAIT_MS = 500;

/**
 * A client that comes back after 429 and 503, as the contract tells callers to; every request of the
 * demonstration is safe to repeat.
 */
export function createApi(origin: string): Api {
  const once = async (
    method: string,
    path: string,
    body: unknown,
    headers: Record<string, string>,
  ): Promise<Reply> => {
    const response = await fetch(`${origin}/api${path}`, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      replayed: response.headers.get('idempotent-replay') === 'true',
      body: text === '' ? undefined : (JSON.parse(text) as unknown),
    };
  };
  return {
    sendOnce: (method, path, body) => once(method, path, body, {}),
    send: async (method, path, body, headers = {}) => {
      for (let attempt = 1; ; attempt += 1) {
        const reply = await once(method, path, body, headers);
        const busy = reply.status === 429 || reply.status === 503;
        if (!busy || attempt === TRIES) return reply;
        await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
      }
    },
  };
}

/** The reply's body by `schema`, when the status is one of `expected`; otherwise an error that shows what came. */
export function expectReply<T>(
  reply: Reply,
  expected: readonly number[],
  schema: z.ZodType<T>,
  what: string,
): T {
  if (!expected.includes(reply.status)) {
    throw new Error(
      `${what}: expected ${expected.join(' or ')}, got ${reply.status} ${JSON.stringify(reply.body)}`,
    );
  }
  return schema.parse(reply.body);
}

export const revenueReply = z.object({
  totalCents: z.string(),
  orders: z.number(),
  complete: z.boolean(),
  perShard: z.array(z.object({ shard: z.number(), totalCents: z.string(), orders: z.number() })),
});

export const bucketMapReply = z.object({
  version: z.number(),
  shards: z.array(z.object({ id: z.number(), name: z.string() })),
  assignment: z.array(z.number()).length(1024),
});

export const reportReply = z.object({
  status: z.string(),
  progress: z.object({ chunksDone: z.number(), chunks: z.number() }),
  result: z
    .object({
      totalCents: z.string(),
      orders: z.number(),
      groups: z.array(z.object({ key: z.string(), totalCents: z.string(), orders: z.number() })),
    })
    .optional(),
});

export const sagaReply = z.object({
  kind: z.string(),
  status: z.enum(['running', 'compensating', 'completed', 'compensated']),
  steps: z.array(
    z.object({
      name: z.string(),
      state: z.string(),
      lastError: z.object({ code: z.string() }).optional(),
    }),
  ),
});

export const rebalanceReply = z.object({
  status: z.string(),
  progress: z.object({ bucketsDone: z.number(), buckets: z.number() }),
  moves: z.array(z.object({ stallMs: z.number().nullable() })),
});
