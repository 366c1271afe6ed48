import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ProbePoint } from '../../src/kernel/probe.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { createFaults, type Faults } from '../support/faults/faults.ts';
import { until } from '../support/http.ts';
import { createRandom } from '../support/random.ts';
import { makeCase, onEveryShard, type SagaCase, type SagaKind } from '../support/sagas/cases.ts';
import { createKeys, SHARDS } from '../support/sagas/placement.ts';
import { ask, endedSaga, expectNothingHeld, keepAlive } from '../support/sagas/watch.ts';
import { expectGreen, verifyCluster } from '../support/verify.ts';

/**
 * The instants of a saga besides its steps at which the host may die: written down and not started, ended and not told,
 * and around the commit of the one transaction that a saga on one shard is. Short by default: one kind of saga at each
 * instant; TEST_LONG=1: every kind. SEED repeats a run.
 */
const LONG = process.env['TEST_LONG'] === '1';
const KINDS: readonly SagaKind[] = ['register-user', 'change-email', 'transfer-order'];
const INSTANTS: readonly { readonly point: ProbePoint; readonly together: boolean }[] = [
  { point: 'sagas.beforeStart', together: false },
  { point: 'sagas.afterRecord', together: false },
  { point: 'sagas.beforeLocalCommit', together: true },
  { point: 'sagas.afterLocalCommit', together: true },
];

const random = createRandom();
const keys = createKeys(2_000_000);
let app: TestApp;
let faults: Faults;

beforeAll(async () => {
  console.log(`seed ${random.seed}`);
  faults = createFaults();
  app = await startTestApp({
    faults,
    settings: {
      // A start that was lost is to be found by the sweep while the test waits.
      SAGA_SWEEP_SCHEDULE: '*/3 * * * * *',
      SAGA_STALE_MS: '3000',
    },
  });
});
afterAll(async () => {
  await app.stop();
  await faults.remove();
});

function chosenKinds(): readonly SagaKind[] {
  return LONG ? KINDS : [KINDS[random.below(KINDS.length)] as SagaKind];
}

async function aCase(kind: SagaKind, together: boolean): Promise<SagaCase> {
  const shard = random.below(SHARDS);
  return await makeCase({ app, random, keys }, kind, { step: 'any', shard, together });
}

test.each(INSTANTS)('a host that dies at $point', async ({ point, together }) => {
  const kinds = chosenKinds();
  const cases = await Promise.all(kinds.map((kind) => aCase(kind, together)));
  const ids = kinds.map((kind) => `${point.replace('.', '-')}-${kind}`);
  const exits = ids.map((id) =>
    faults.arm({ point, subject: new RegExp(`^${id}(/|$)`), action: 'exit' }),
  );
  const restarting = keepAlive(app, () => exits.every((id) => faults.hits(id).length === 1));
  await app.enqueueAll(
    'sagas',
    cases.map(({ message }, index) => ({ sagaId: ids[index], ...message })),
  );
  await restarting;
  for (const [index, saga] of cases.entries()) {
    const ended = await endedSaga(app, ids[index] as string);
    expect(ended['status']).toBe('completed');
    await saga.expectAll();
    console.log(`${ids[index]}: completed`);
  }
  await app.queueDrained('sagas');
  await expectNothingHeld(app);
});

test('a start that was lost, and that nobody repeats, is settled by the sweep', async () => {
  const saga = await aCase('register-user', false);
  const exit = faults.arm({ point: 'sagas.beforeStart', subject: /./, action: 'exit' });
  const restarting = keepAlive(app, () => faults.hits(exit).length === 1);
  expect(await ask(() => app.http.post('/api/users', saga.message.input))).toBeUndefined();
  await restarting;
  const userId = String(saga.message.input['userId']);
  const row = async (): Promise<Record<string, unknown> | undefined> =>
    (await onEveryShard(app, 'SELECT saga_id, status, input FROM sagas')).find((found) =>
      String(found['input']).includes(`"${userId}"`),
    );
  const ended = await until(row, (found) => /^comp.*ed$/.test(String(found?.['status'])), {
    timeoutMs: 120_000,
    everyMs: 500,
  });
  console.log(`${String(ended?.['saga_id'])}: ${String(ended?.['status'])}`);
  if (ended?.['status'] === 'completed') await saga.expectAll();
  else await saga.expectNothing();
  await expectNothingHeld(app);
});

test('the invariant checker is green after all of this', async () => {
  expectGreen(await verifyCluster(app));
});
