import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { createRandom } from '../support/random.ts';
import { type CaseWorld, makeCase, type SagaCase, type SagaKind } from '../support/sagas/cases.ts';
import { createKeys, shardOf, SHARDS } from '../support/sagas/placement.ts';
import { endedOrchestration, endedSaga } from '../support/sagas/watch.ts';

/**
 * What a saga over two shards costs in durable actions and bytes of history, measured in the store of the local host,
 * whose history has the events of the real extension. Printed for each kind; the budget is for a registration.
 */
const MOST_ACTIONS = 9;

let app: TestApp;
let world: CaseWorld;
beforeAll(async () => {
  app = await startTestApp();
  world = { app, random: createRandom(), keys: createKeys(500_000) };
});
afterAll(() => app.stop());

interface Cost {
  readonly actions: number;
  readonly historyBytes: number;
}

/** Runs a message to its end under a saga id of its own. */
async function costOf(
  name: string,
  message: SagaCase['message'],
  status: 'completed' | 'compensated',
): Promise<Cost> {
  const sagaId = `cost-${name.replaceAll(' ', '-')}`;
  await app.enqueue('sagas', { sagaId, ...message });
  expect((await endedSaga(app, sagaId))['status']).toBe(status);
  expect(await endedOrchestration(app, sagaId)).toBe('Completed');
  const stats = await app.http.get(`/runtime/webhooks/durabletask/instances/${sagaId}/stats`);
  expect(stats.status).toBe(200);
  const { actions, historyBytes } = stats.json;
  console.log(`${name}: ${Number(actions)} actions, ${Number(historyBytes)} bytes of history`);
  return { actions: Number(actions), historyBytes: Number(historyBytes) };
}

/** Changes a message so that the pivot or the step before it is refused. */
async function refusedMessage(
  kind: SagaKind,
  message: SagaCase['message'],
): Promise<SagaCase['message']> {
  const { keys } = world;
  const other = keys.userOn(0);
  await app.http.post('/api/users', { userId: other, email: keys.emailOn(0) });
  switch (kind) {
    case 'register-user':
      // The id is in use, which only the pivot finds out.
      return { ...message, input: { email: keys.emailOn(1), userId: other } };
    case 'change-email':
      return { ...message, input: { email: keys.emailOn(1), userId: keys.userOn(0) } };
    case 'transfer-order': {
      const from = String(message.input['fromUserId']);
      const nobody = keys.userOn((shardOf(from) + 1) % SHARDS);
      return { ...message, input: { ...message.input, toUserId: nobody } };
    }
  }
}

test.each(['register-user', 'change-email', 'transfer-order'] as const)('%s', async (kind) => {
  const { message } = await makeCase(world, kind, { step: 'any', shard: 0 });
  const refused = await costOf(
    `${kind} compensated`,
    await refusedMessage(kind, message),
    'compensated',
  );
  const happy = await costOf(`${kind} completed`, message, 'completed');
  const most = kind === 'register-user' ? MOST_ACTIONS : Infinity;
  for (const { actions } of [refused, happy]) {
    expect(actions).toBeGreaterThan(0);
    expect(actions).toBeLessThanOrEqual(most);
  }
});
