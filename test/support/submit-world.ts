import { z } from 'zod';
import type { ShardedDatabase } from '../../src/database/contracts.ts';
import type { OrchestrationClient } from '../../src/durable/client.ts';
import { defineSaga } from '../../src/durable/saga/definition.ts';
import { implementSaga } from '../../src/durable/saga/run-saga.ts';
import { defineCompensatableStep, defineStep } from '../../src/durable/saga/step.ts';
import type { BucketId } from '../../src/kernel/ids.ts';
import { implementCompensatableStep, implementStep } from '../../src/sagas/implement-step.ts';
import { readSaga } from '../../src/sagas/journal.ts';
import type { LocalSaga } from '../../src/sagas/local.ts';
import { isEnded, type SagaRecord } from '../../src/sagas/model.ts';
import type { SagaModule } from '../../src/sagas/modules.ts';
import { sagasDurable } from '../../src/sagas/record.ts';
import type { SagaId } from '../../src/sagas/saga-id.ts';
import { settleLocal } from '../../src/sagas/settle-local.ts';
import { submitSaga, type SagaSubmission, type Submitted } from '../../src/sagas/submit.ts';
import type { Services } from '../../src/services.ts';
import { createInlineSagas, type InlineSagas } from './inline-sagas.ts';
import { startLedgerWorld, type LedgerWorld } from './ledger-world.ts';

const input = z.strictObject({ first: z.int(), second: z.int(), note: z.string() });
export type PairInput = z.infer<typeof input>;
const pair = z.strictObject({ note: z.string(), of: z.string() });
export type Pair = z.infer<typeof pair>;

const takeStep = defineCompensatableStep({ name: 'pair-take', input, output: z.null() });
const keepStep = defineStep({ name: 'pair-keep', input, output: z.null() });

/** A saga whose whole effect is one row in each of two buckets. */
export const pairSaga = defineSaga({ kind: 'pair', input, output: pair })
  .compensatable('take', takeStep, (soFar) => soFar.input)
  .pivot('keep', keepStep, (soFar) => soFar.input)
  .returns((soFar) => ({ note: soFar.input.note, of: soFar.sagaId }));

/** Runs the pair saga over real shards, with the real runner in this process. */
export interface SubmitWorld extends LedgerWorld {
  readonly sagas: InlineSagas;
  readonly module: SagaModule;
  /** Throws to refuse, wherever the effect is about to be had. */
  refuse: () => void;
  submit(more: SubmitOptions): Promise<Submitted<Pair>>;
  /** Does for one saga what the sweep does: settles or starts it again when it is unfinished and has no orchestration. */
  sweep(sagaId: SagaId): Promise<void>;
  /** Both rows, one of them or none; taken back ones do not count. */
  net(sagaId: SagaId): Promise<number>;
  record(sagaId: SagaId): Promise<SagaRecord | undefined>;
}

export interface SubmitOptions extends Partial<SagaSubmission<PairInput, Pair>> {
  readonly sagaId: SagaId;
  readonly input: PairInput;
  readonly services?: Services;
  readonly client?: OrchestrationClient;
}

export async function startSubmitWorld(
  settings: Readonly<Record<string, string>> = {},
): Promise<SubmitWorld> {
  const world = await startLedgerWorld(settings);
  const module: SagaModule = {
    definition: pairSaga,
    local: localPair(() => submitWorld),
    message: input,
    submit: async (services, client, { sagaId, message }) => {
      await submitSaga(services, client, {
        ...submissionOf(sagaId, message as PairInput, module),
        waitMs: 0,
      });
    },
  };
  const sagas = createInlineSagas(world.services, [sagasDurable, durableOf(() => submitWorld)]);
  const added: Omit<SubmitWorld, keyof LedgerWorld> = {
    sagas,
    module,
    refuse: () => undefined,
    submit: ({ services = world.services, client = sagas.client, ...more }) =>
      submitSaga(services, client, { ...submissionOf(more.sagaId, more.input, module), ...more }),
    sweep: async (sagaId) => {
      const record = await readSaga(world.services, sagaId);
      if (record === undefined || isEnded(record)) return;
      if ((await sagas.settled()).has(sagaId)) return;
      if ((await settleLocal(world.services, module, record)) === 'ended') return;
      const start = { mode: 'recover', input: record.input } as const;
      await sagas.client.ensureStarted(pairSaga.orchestration, sagaId, start);
      await sagas.settled();
    },
    net: async (sagaId) => {
      const { run, undone } = await submitWorld.count(sagaId);
      return run - undone;
    },
    record: (sagaId) => readSaga(world.services, sagaId),
  };
  const submitWorld: SubmitWorld = Object.assign(world, added);
  return submitWorld;
}

function submissionOf(
  sagaId: SagaId,
  of: PairInput,
  module: SagaModule,
): SagaSubmission<PairInput, Pair> {
  return {
    saga: pairSaga,
    sagaId,
    input: of,
    identified: true,
    local: module.local as LocalSaga<PairInput, Pair>,
    waitMs: 10_000,
  };
}

function localPair(world: () => SubmitWorld): LocalSaga<PairInput, Pair> {
  return {
    buckets: ({ first, second }) => [first as BucketId, second as BucketId],
    run: async (tx, { first, second, note }, { sagaId }) => {
      world().refuse();
      await world().effect(tx, first, sagaId);
      await world().effect(tx, second, sagaId);
      return { kind: 'answered', value: { note, of: sagaId } };
    },
  };
}

function durableOf(world: () => SubmitWorld) {
  const take = implementCompensatableStep(takeStep, {
    bucket: ({ first }) => first as BucketId,
    run: async (tx, { first }, { sagaId }) => {
      world().refuse();
      await world().effect(tx, first, sagaId);
      return { kind: 'answered', value: null };
    },
    undo: async (tx, { first }, { sagaId }) => {
      const text = 'UPDATE test_effects SET undone = 1 WHERE saga_id = ? AND bucket = ?';
      await tx.execute(text, [sagaId, first]);
    },
  });
  const keep = implementStep(keepStep, {
    bucket: ({ second }) => second as BucketId,
    run: async (tx, { second }, { sagaId }) => {
      await world().effect(tx, second, sagaId);
      return { kind: 'answered', value: null };
    },
  });
  return { contracts: [], activities: [take, keep], orchestrations: [implementSaga(pairSaga)] };
}

/** A process that dies at its `call`th use of a database or of the runtime, before it has its effect or after. */
export interface DyingProcess {
  readonly services: Services;
  readonly client: OrchestrationClient;
  readonly isDead: () => boolean;
}

export function createDyingProcess(
  world: SubmitWorld,
  death: { readonly call: number; readonly when: 'before' | 'after' },
): DyingProcess {
  let calls = 0;
  let dead = false;
  const kill = (): never => {
    dead = true;
    throw new Error('this process was killed');
  };
  const mortal = async <T>(use: () => Promise<T>): Promise<T> => {
    if (dead) kill();
    const isLast = (calls += 1) === death.call;
    if (isLast && death.when === 'before') kill();
    const value = await use();
    return isLast || dead ? kill() : value;
  };
  const { database } = world.services;
  const mortalDatabase: ShardedDatabase = {
    onOwner: (...call) => mortal(() => database.onOwner(...call)),
    onShard: (...call) => mortal(() => database.onShard(...call)),
    onSession: (...call) => mortal(() => database.onSession(...call)),
    route: (bucket) => database.route(bucket),
    shardIds: () => database.shardIds(),
    inspect: (shard) => database.inspect(shard),
    prewarm: () => database.prewarm(),
    close: () => Promise.resolve(),
  };
  const { client } = world.sagas;
  return {
    services: { ...world.services, database: mortalDatabase },
    client: {
      ...client,
      ensureStarted: (...call) => mortal(() => client.ensureStarted(...call)),
    },
    isDead: () => dead,
  };
}
