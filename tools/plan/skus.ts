import { readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

const skuSchema = z.strictObject({
  tier: z.enum(['Burstable', 'GeneralPurpose', 'MemoryOptimized']),
  vCores: z.int().positive(),
  memoryGiB: z.int().positive(),
  maxIops: z.int().positive(),
  /** `max_connections` of a new server. */
  defaultConnections: z.int().positive(),
  /** The most that `max_connections` may be set to. */
  maxConnections: z.int().positive(),
});

/** What a server of one SKU can do; from the limits that Azure documents for MySQL flexible servers. */
export type Sku = z.infer<typeof skuSchema>;

const INFRA = path.join(import.meta.dirname, '..', '..', 'infra');

function readInfra(name: string): unknown {
  return JSON.parse(readFileSync(path.join(INFRA, name), 'utf8'));
}

/** The SKUs that the deployment and the planner know, by name: `infra/mysql-skus.json`. */
export function readSkus(): Readonly<Record<string, Sku>> {
  return z.record(z.string(), skuSchema).parse(readInfra('mysql-skus.json'));
}

/** The functions that scale on their own, beside all of HTTP and all of Durable: `infra/functions.json`. */
export function readFunctions(): {
  readonly queues: readonly string[];
  readonly timers: readonly string[];
} {
  return z
    .strictObject({ queues: z.array(z.string()), timers: z.array(z.string()) })
    .parse(readInfra('functions.json'));
}
