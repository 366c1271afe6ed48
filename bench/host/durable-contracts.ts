import { z } from 'zod';
import { defineActivity, defineOrchestration } from '../../src/durable/contract.ts';

const count = z.int().min(0);

/** Gives back what it got. */
export const nothing = defineActivity({
  name: 'bench-nothing',
  input: z.strictObject({ n: count }),
  output: count,
  retry: { firstIntervalMs: 1_000, backoff: 2, maxIntervalMs: 1_000, maxAttempts: 3 },
});

/** So many activities at once, and none after them. */
export const fan = defineOrchestration({
  name: 'bench-fan',
  input: z.strictObject({ width: count }),
  output: count,
});

/** So many activities, one after the other. */
export const chain = defineOrchestration({
  name: 'bench-chain',
  input: z.strictObject({ length: count }),
  output: count,
});
