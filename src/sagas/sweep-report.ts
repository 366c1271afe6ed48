import { z } from 'zod';
import { timestampText } from '../kernel/schemas.ts';

const orphans = z.object({
  found: z.int(),
  confirmed: z.int(),
  released: z.int(),
  left: z.int(),
});

const sweptShard = z.object({
  shard: z.int(),
  sagas: z.object({
    stale: z.int().meta({ description: 'Unfinished, and untouched for long.' }),
    alive: z.int().meta({ description: 'Of those, with an orchestration that lives.' }),
    revived: z.int().meta({ description: 'Of those, started again.' }),
    ended: z
      .int()
      .meta({ description: 'Of those, one transaction that had ended; written down now.' }),
    failed: z.int().meta({ description: 'Of those, not started again because of an error.' }),
  }),
  orphans: z
    .record(z.string(), orphans)
    .meta({ description: 'Reservations, locks and pending rows whose saga is gone.' }),
  purged: z.record(z.string(), z.int()).meta({ description: 'Rows past their retention time.' }),
  errors: z.array(z.object({ task: z.string(), code: z.string(), message: z.string() })),
});
export type SweptShard = z.infer<typeof sweptShard>;

/** What one run of the sweep did. */
export const sweepReport = z
  .object({
    startedAt: timestampText,
    finishedAt: timestampText,
    complete: z.boolean().meta({
      description:
        'Everything was come to: no error, and no want of time. The next run does the rest.',
    }),
    shards: z.array(sweptShard),
  })
  .meta({ id: 'SagaSweep' });
export type SweepReport = z.infer<typeof sweepReport>;

/** As it is kept: the report, and where the next run goes on, by `shard/task`. */
export const storedSweep = z.object({
  report: sweepReport,
  places: z.record(z.string(), z.string()),
});
export type StoredSweep = z.infer<typeof storedSweep>;
