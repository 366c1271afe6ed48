import { z } from 'zod';
import type { SqlRow, SqlValue } from '../../src/database/contracts.ts';
import type { OrchestrationClient, RuntimeState } from '../../src/durable/client.ts';
import { defineSaga } from '../../src/durable/saga/definition.ts';
import { defineStep } from '../../src/durable/saga/step.ts';
import type { SagaStatus, SagaView } from '../../src/durable/saga/view.ts';
import type { DurableBinding } from '../../src/http/handler.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { PermanentError, RetryableError } from '../../src/kernel/errors.ts';
import type { BucketId, OrderId, ShardId } from '../../src/kernel/ids.ts';
import type { SagaModule } from '../../src/sagas/modules.ts';
import { sagaOperationsRoutes } from '../../src/sagas/ops-http.ts';
import { homeBucketOf, sagaIdAt, type SagaId } from '../../src/sagas/saga-id.ts';
import type { SweepParts } from '../../src/sagas/sweep.ts';
import type { Services } from '../../src/services.ts';
import type { TestDatabases } from './cluster.ts';
import { createFakeServices, type FakeServices } from './fake-services.ts';
import { createMemoryBlobs } from './memory-blobs.ts';
import type { LoggedEvent } from './recording-logger.ts';
import { createRouteCaller } from './route-caller.ts';
import { createTestInstance, testConfig, type Settings, type TestMap } from './test-database.ts';

/** The time at which all of these tests play. */
export const NOW_MS = Date.UTC(2026, 5, 1, 12);
export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;

/** Kinds of sagas with a table of one step: nothing here runs them. */
export const KINDS = ['open-account', 'close-account'] as const;

/** Where sagas of the second kind have their local transaction: the input says. */
const LOCAL: SagaModule['local'] = {
  buckets: ({ bucket }: { readonly bucket: BucketId }) => [bucket],
  run: () => Promise.reject(new Error('nothing is done locally here')),
};

const MODULES: readonly SagaModule[] = KINDS.map((kind) => ({
  definition: defineSaga({ kind, input: z.unknown(), output: z.unknown() })
    .pivot(
      'act',
      defineStep({ name: `${kind}-act`, input: z.unknown(), output: z.unknown() }),
      () => null,
    )
    .returns(() => null),
  local: kind === 'close-account' ? LOCAL : undefined,
  message: z.unknown(),
  submit: () => Promise.reject(new Error('nothing is submitted here')),
}));

/** The runtime as far as operators and the sweep use it. */
export interface FakeRuntime {
  readonly client: OrchestrationClient;
  /** By instance id. */
  readonly instances: Map<string, FakeInstance>;
  readonly raised: { readonly instanceId: string; readonly name: string; readonly data: unknown }[];
  readonly started: {
    readonly instanceId: string;
    readonly name: string;
    readonly input: unknown;
  }[];
  /** Called before each event is taken. */
  onRaise: () => Promise<void>;
  down: boolean;
  /** Questions after the status of an instance. */
  asked: number;
}

export interface FakeInstance {
  readonly name: string;
  readonly state: RuntimeState;
  readonly view?: SagaView;
}

function createFakeRuntime(): FakeRuntime {
  const lives = (instance: FakeInstance | undefined): boolean =>
    instance !== undefined && ['pending', 'running', 'suspended'].includes(instance.state);
  const own = (contract: { readonly name: string }, id: string): FakeInstance | undefined => {
    if (runtime.down) throw RetryableError.storageUnavailable();
    const found = runtime.instances.get(id);
    if (found === undefined || found.name === contract.name) return found;
    throw new PermanentError('conflict', 'of another kind');
  };
  const runtime: FakeRuntime = {
    instances: new Map(),
    raised: [],
    started: [],
    onRaise: () => Promise.resolve(),
    down: false,
    asked: 0,
    client: {
      ensureStarted: () => Promise.reject(new Error('nothing is started for the first time here')),
      startAgain: async (contract, instanceId, input) => {
        await Promise.resolve();
        if (lives(own(contract, instanceId))) return 'running';
        runtime.instances.set(instanceId, { name: contract.name, state: 'running' });
        runtime.started.push({ instanceId, name: contract.name, input });
        return 'started';
      },
      raise: async (instanceId, name, data) => {
        if (!lives(runtime.instances.get(instanceId))) return false;
        await runtime.onRaise();
        runtime.raised.push({ instanceId, name, data });
        return true;
      },
      status: async (contract, instanceId) => {
        runtime.asked += 1;
        await Promise.resolve();
        const found = own(contract, instanceId);
        if (found === undefined) return undefined;
        const status = contract.status?.safeParse(found.view).data;
        const { state } = found;
        return { instanceId, state, createdAtMs: 0, updatedAtMs: 0, status, output: undefined };
      },
    },
  };
  return runtime;
}

/** A row of `sagas`, with what a test does not care about filled in. */
export interface SagaRow {
  readonly sagaId: SagaId;
  readonly kind?: (typeof KINDS)[number] | undefined;
  readonly status?: SagaStatus | undefined;
  readonly attention?: boolean;
  readonly input?: unknown;
  readonly steps?: unknown;
  readonly outcome?: unknown;
  readonly createdMs?: number;
  readonly updatedMs?: number;
  /** In place of the one that owns its home bucket. */
  readonly shard?: number;
}

/** Operators, sweep and purge over real shards and a fake runtime. */
export interface SagaOperations {
  readonly services: FakeServices;
  readonly map: TestMap;
  /** What the database layer logs: retries and the like. */
  readonly databaseEvents: readonly LoggedEvent[];
  readonly runtime: FakeRuntime;
  readonly modules: readonly SagaModule[];
  readonly call: ReturnType<typeof createRouteCaller>;
  /** The route caller of another composition. */
  callWith(parts: Partial<SweepParts>): ReturnType<typeof createRouteCaller>;
  write(shard: number, text: string, values?: readonly SqlValue[]): Promise<number>;
  rows(shard: number, text: string, values?: readonly SqlValue[]): Promise<readonly SqlRow[]>;
  addSaga(row: SagaRow): Promise<void>;
  own(
    shard: number,
    bucket: number,
    state: 'owned' | 'fenced' | 'receiving' | 'gone',
  ): Promise<void>;
  /** Empties all tables, the runtime and the blobs, and gives each bucket to its first owner. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

export async function startSagaOperations(
  databases: TestDatabases,
  chosen: Settings = {},
): Promise<SagaOperations> {
  // A shard that a test stops is there again for the next one at once.
  const settings = { CIRCUIT_OPEN_MS: '10', ...chosen };
  const instance = createTestInstance(databases, { settings });
  const runtime = createFakeRuntime();
  const blobs = createMemoryBlobs();
  let lastEntry = 1_000n;
  const services: FakeServices = {
    ...createFakeServices({
      config: testConfig(databases, settings),
      database: instance.database,
      bucketMap: instance.map,
      blobs,
      clock: { ...systemClock, nowMs: () => NOW_MS },
      ids: {
        nextUserId: () => Promise.reject(new Error('no user is made here')),
        nextOrderId: () => Promise.resolve(String((lastEntry += 1n)) as OrderId),
      },
    }),
  };
  const durable: DurableBinding = {
    input: { type: 'durableClient', name: 'client' },
    clientOf: () => runtime.client,
  };
  const callWith: SagaOperations['callWith'] = (parts) =>
    createRouteCaller(
      services as Services,
      sagaOperationsRoutes({ modules: MODULES, settlers: [], purgers: [], ...parts }),
      durable,
    );
  const limit = { deadlineMs: 30_000 };
  const app: SagaOperations = {
    services,
    map: instance.map,
    databaseEvents: instance.logger.events,
    runtime,
    modules: MODULES,
    call: callWith({}),
    callWith,
    write: (shard, text, values = []) =>
      instance.database.onShard(
        shard as ShardId,
        async (on) => (await on.execute(text, values)).affectedRows,
        limit,
      ),
    rows: (shard, text, values = []) =>
      instance.database.onShard(shard as ShardId, (on) => on.query(text, values), limit),
    addSaga: async (row) => {
      const bucket = homeBucketOf(row.sagaId);
      const status = row.status ?? 'running';
      const createdMs = row.createdMs ?? NOW_MS;
      const updated = sqlTime(row.updatedMs ?? createdMs);
      const ended = status === 'completed' || status === 'compensated';
      const values = [
        bucket,
        row.sagaId,
        row.kind ?? KINDS[0],
        status,
        row.attention === true ? 1 : 0,
        JSON.stringify(row.input ?? null),
        row.steps === undefined ? null : JSON.stringify(row.steps),
        row.outcome === undefined ? null : JSON.stringify(row.outcome),
        sqlTime(createdMs),
        updated,
        ended ? updated : null,
      ];
      const shard = row.shard ?? bucket % databases.shards.length;
      const marks = values.map(() => '?').join(', ');
      await app.write(shard, `INSERT INTO sagas VALUES (${marks})`, values);
    },
    own: async (shard, bucket, state) => {
      await app.write(
        shard,
        'REPLACE INTO bucket_ownership (bucket, state, epoch, updated_at) VALUES (?, ?, 1, NOW(3))',
        [bucket, state],
      );
    },
    reset: async () => {
      runtime.instances.clear();
      runtime.raised.length = 0;
      runtime.started.length = 0;
      runtime.onRaise = () => Promise.resolve();
      runtime.down = false;
      runtime.asked = 0;
      blobs.texts.clear();
      services.logger.events.length = 0;
      instance.logger.events.length = 0;
      for (const shard of databases.shards.keys()) await resetShard(app, shard);
    },
    close: () => instance.database.close(),
  };
  await instance.database.prewarm();
  await app.reset();
  return app;
}

const TABLES = [
  'sagas',
  'saga_steps',
  'saga_audit',
  'email_directory',
  'order_transfers',
  'orders',
];

async function resetShard(app: SagaOperations, shard: number): Promise<void> {
  for (const table of TABLES) await app.write(shard, `DELETE FROM ${table}`);
  const { assignment } = app.map.held;
  const foreign = [...assignment.keys()].filter((bucket) => assignment[bucket] !== shard);
  await app.write(shard, `DELETE FROM bucket_ownership WHERE bucket IN (${foreign.join(',')})`);
  await app.write(shard, `UPDATE bucket_ownership SET state = 'owned', moved_to = NULL`);
}

export function sqlTime(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').replace('Z', '');
}

let lastId = 0;

/** A new saga id at home on a shard (of three). */
export function sagaOn(shard: number): SagaId {
  lastId += 1;
  return sagaIdAt((shard + 3 * (lastId % 300)) as BucketId, `test.${lastId}`);
}
