import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const hostJson = z.object({
  extensions: z.object({
    queues: z.object({ batchSize: z.int(), newBatchThreshold: z.int() }),
  }),
});

type Extensions = z.infer<typeof hostJson>['extensions'];

/** What the product's host.json says about messages at once. */
export function readHostJson(): Extensions {
  const file = join(import.meta.dirname, '..', '..', 'host.json');
  return hostJson.parse(JSON.parse(readFileSync(file, 'utf8'))).extensions;
}
