import { z } from 'zod';
import { timestampText } from '../kernel/schemas.ts';
import { BUCKET_COUNT } from '../sharding/hash.ts';

const shardId = z.int().min(0);

export const bucketMapView = z
  .object({
    version: z.int().min(1),
    updatedAt: timestampText,
    bucketCount: z.literal(BUCKET_COUNT),
    shards: z.array(
      z.object({
        id: shardId,
        name: z.string(),
        state: z.enum(['active', 'new', 'draining', 'drained']),
        buckets: z.int().min(0).meta({ description: 'How many buckets it owns by this map.' }),
      }),
    ),
    assignment: z
      .array(shardId)
      .length(BUCKET_COUNT)
      .meta({ description: 'Index: bucket. Value: shard.' }),
    moves: z.array(z.object({ bucket: z.int(), from: shardId, to: shardId })),
  })
  .meta({ id: 'BucketMap' });

export type BucketMapView = z.infer<typeof bucketMapView>;

const poolUse = z.object({ open: z.int(), idle: z.int(), waiting: z.int(), limit: z.int() }).meta({
  id: 'PoolUse',
  description: 'Connections of this instance, and callers waiting for one.',
});

const shardView = z
  .object({
    id: shardId,
    name: z.string(),
    reachable: z.boolean(),
    latencyMs: z.number().nullable(),
    serverVersion: z.string().nullable(),
    circuit: z.enum(['closed', 'open', 'half-open']),
    pool: poolUse,
    batchPool: poolUse,
    buckets: z.int().min(0),
    rows: z
      .record(z.string(), z.number())
      .meta({ description: 'Rows per table, by the server’s own estimate.' }),
    problem: z.string().nullable(),
  })
  .meta({ id: 'ShardStatus' });

export const shardsView = z.object({ shards: z.array(shardView) }).meta({ id: 'Shards' });

export type ShardsView = z.infer<typeof shardsView>;

export const livenessView = z.object({ status: z.literal('live') }).meta({ id: 'Liveness' });

export const readinessView = z
  .object({
    status: z.enum(['ready', 'not-ready']),
    dependencies: z.array(
      z.object({
        name: z.string().meta({ examples: ['storage', 'bucketMap', 'shard:eu-1'] }),
        kind: z.enum(['shard', 'storage', 'bucketMap']),
        state: z.enum(['up', 'down']),
        latencyMs: z.number().nullable().meta({ description: 'Null when it did not answer.' }),
      }),
    ),
  })
  .meta({ id: 'Readiness' });

export type Readiness = z.infer<typeof readinessView>;
export type Dependency = Readiness['dependencies'][number];
