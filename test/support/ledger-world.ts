import { z } from 'zod';
import type { SqlRow, SqlRunner, SqlValue } from '../../src/database/contracts.ts';
import { fenceBucket, unfenceBucket } from '../../src/database/ownership.ts';
import type { ActivityImplementation } from '../../src/durable/implement.ts';
import {
  defineCompensatableStep,
  stepAnswer,
  type StepAnswer,
  type StepVerb,
} from '../../src/durable/saga/step.ts';
import type { BucketId, ShardId } from '../../src/kernel/ids.ts';
import { noopProbe, type Probe } from '../../src/kernel/probe.ts';
import { implementCompensatableStep, type StepRun } from '../../src/sagas/implement-step.ts';
import type { Services } from '../../src/services.ts';
import { createTestDatabases, type TestDatabases } from './cluster.ts';
import { createFakeServices } from './fake-services.ts';
import type { RecordingLogger } from './recording-logger.ts';
import { createTestInstance, testConfig, type TestMap } from './test-database.ts';

/** What the test's step takes: where it acts, and how. */
const effectInput = z.strictObject({
  bucket: z.int(),
  /** Answered by the step, and recorded. */
  answer: z.unknown(),
});
export type EffectInput = z.infer<typeof effectInput>;

const effectStep = defineCompensatableStep({
  name: 'test-effect',
  input: effectInput,
  output: z.unknown(),
});

/** What a test may put into the step, after the ledger was entered. */
export type EffectHook = (tx: SqlRunner, run: StepRun) => Promise<unknown>;

/** A step with an effect that can be counted, over real shards. */
export interface LedgerWorld {
  readonly databases: TestDatabases;
  readonly services: Services;
  readonly map: TestMap;
  readonly logger: RecordingLogger;
  /** Runs in the step's transaction, ahead of its effect; what it returns as a refusal is returned. */
  hook: EffectHook;
  /** Stands at every probe point. */
  probe: Probe;
  deliver(verb: StepVerb, sagaId: string, input: EffectInput): Promise<StepAnswer>;
  /** Writes one row that counts as an effect. */
  effect(tx: SqlRunner, bucket: number, sagaId: string): Promise<void>;
  /** Effects that were had, and those that were taken back. */
  count(sagaId: string): Promise<{ readonly run: number; readonly undone: number }>;
  /** Rows of all shards. */
  rows(text: string, values?: readonly SqlValue[]): Promise<readonly SqlRow[]>;
  fence(bucket: number): Promise<void>;
  unfence(bucket: number): Promise<void>;
  /** Database failures that were tried again since the last call, by kind. */
  retries(): Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

const CREATE_EFFECTS = `CREATE TABLE test_effects (
  id BIGINT NOT NULL AUTO_INCREMENT, bucket INT NOT NULL, saga_id VARCHAR(100) NOT NULL,
  undone TINYINT NOT NULL DEFAULT 0, PRIMARY KEY (id), KEY (saga_id)) ENGINE=InnoDB`;

export async function startLedgerWorld(
  settings: Readonly<Record<string, string>> = {},
): Promise<LedgerWorld> {
  const databases = await createTestDatabases();
  const { database, map, logger } = createTestInstance(databases, { settings });
  const probe: Probe = { reach: (...reached) => world.probe.reach(...reached) };
  const services: Services = {
    ...createFakeServices(),
    config: testConfig(databases, settings),
    database,
    bucketMap: map,
    logger,
    probe,
    random: Math.random,
  };
  const everywhere = <T>(run: (runner: SqlRunner) => Promise<T>): Promise<T[]> =>
    Promise.all(
      databases.shards.map((_, index) =>
        database.onShard(index as ShardId, run, { deadlineMs: 30_000 }),
      ),
    );
  await everywhere((runner) => runner.execute(CREATE_EFFECTS, []));
  const step = effectImplementation(() => world);
  const deliver = step.bind(services);
  let seen = 0;
  const world: LedgerWorld = {
    databases,
    services,
    map,
    logger,
    hook: () => Promise.resolve(undefined),
    probe: noopProbe,
    deliver: async (verb, sagaId, input) => {
      const payload = { sagaId, step: 'one', verb, input };
      const envelope = await deliver(payload, { instanceId: sagaId, logger });
      if (!envelope.ok) throw new Error(`the step answered with an error: ${envelope.error.code}`);
      return stepAnswer.parse(envelope.value);
    },
    effect: async (tx, bucket, sagaId) => {
      await tx.execute('INSERT INTO test_effects (bucket, saga_id) VALUES (?, ?)', [
        bucket,
        sagaId,
      ]);
    },
    count: async (sagaId) => {
      const rows = await world.rows('SELECT undone FROM test_effects WHERE saga_id = ?', [sagaId]);
      return { run: rows.length, undone: rows.filter((row) => row['undone'] === 1).length };
    },
    rows: async (text, values = []) =>
      (await everywhere((runner) => runner.query(text, values))).flat(),
    fence: (bucket) => onOwner(world, bucket, fenceBucket),
    unfence: (bucket) => onOwner(world, bucket, unfenceBucket),
    retries: () => {
      const counts: Record<string, number> = {};
      for (const { event, fields } of logger.events.slice(seen)) {
        if (event !== 'database.attempt_failed' && event !== 'database.attempts_given_up') continue;
        const details = fields['errorDetails'] as { readonly errno?: number } | undefined;
        const kind = `${String(fields['errorCode'])}/${String(details?.errno)}`;
        counts[kind] = (counts[kind] ?? 0) + 1;
      }
      seen = logger.events.length;
      return counts;
    },
    stop: async () => {
      await database.close();
      await databases.drop();
    },
  };
  return world;
}

function effectImplementation(world: () => LedgerWorld): ActivityImplementation<Services> {
  return implementCompensatableStep(effectStep, {
    bucket: (input) => input.bucket as BucketId,
    run: async (tx, input, run) => {
      const hooked = await world().hook(tx, run);
      if (hooked !== undefined) return hooked as never;
      await world().effect(tx, input.bucket, run.sagaId);
      return { kind: 'answered', value: input.answer };
    },
    undo: async (tx, _input, { sagaId }) => {
      const text = 'UPDATE test_effects SET undone = undone + 1 WHERE saga_id = ?';
      await tx.execute(text, [sagaId]);
    },
  });
}

async function onOwner(
  world: LedgerWorld,
  bucket: number,
  change: typeof fenceBucket,
): Promise<void> {
  const shard = world.map.stored.assignment[bucket] as ShardId;
  const epoch = world.map.stored.epochs[bucket] ?? 1;
  await world.services.database.onShard(
    shard,
    async (target) => {
      const options = { bucket: bucket as BucketId, epoch, nowMs: Date.now() };
      if (!(await change(target, options))) throw new Error('the bucket was in another state');
    },
    { deadlineMs: 30_000 },
  );
}

/** As a finished move leaves things: ownership at the target, an old copy at the source, the map stale until refreshed. */
export async function moveBucketRows(
  world: LedgerWorld,
  move: { readonly bucket: number; readonly to: number; readonly tables: readonly string[] },
): Promise<void> {
  const { bucket, to, tables } = move;
  const { database } = world.services;
  const from = world.map.stored.assignment[bucket] as ShardId;
  const on = <T>(shard: number, run: (runner: SqlRunner) => Promise<T>): Promise<T> =>
    database.onShard(shard as ShardId, run, { deadlineMs: 30_000 });
  for (const table of tables) {
    const rows = await on(from, (runner) =>
      runner.query(`SELECT * FROM ${table} WHERE bucket = ?`, [bucket]),
    );
    for (const row of rows) {
      const columns = Object.keys(row);
      const places = columns.map(() => '?').join(', ');
      const text = `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${places})`;
      await on(to, (runner) => runner.execute(text, Object.values(row)));
    }
  }
  await on(from, (runner) =>
    runner.execute("UPDATE bucket_ownership SET state = 'gone', moved_to = ? WHERE bucket = ?", [
      to,
      bucket,
    ]),
  );
  await on(to, (runner) =>
    runner.execute(
      "REPLACE INTO bucket_ownership (bucket, state, epoch, moved_to, updated_at) VALUES (?, 'owned', 2, NULL, NOW(3))",
      [bucket],
    ),
  );
}
