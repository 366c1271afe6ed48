import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RawClient } from '../../../src/durable/client.ts';
import type { BoundActivity } from '../../support/drive-orchestrator.ts';
import { silentLogger } from '../../support/drive-orchestrator.ts';
import { createRandom, type Random } from '../../support/random.ts';
import { expectWhole, randomPlan } from '../../unit/durable/saga-checks.ts';
import { FAULTS, SagaWorld, sagaOf } from '../../unit/durable/saga-world.ts';
import { loadInProcessApp } from './support/in-process-app.ts';
import { startTestHost, type TestHost } from './support/test-host.ts';

/**
 * Sagas on the local host's engine instead of the test driver: real timers, events that wait in an inbox, executions
 * that continue as new, instances that are terminated and started again under their id.
 */
const { df } = loadInProcessApp();
// After the core API is in place, which the SDK looks for when it is loaded.
const { implementSaga } = await import('../../../src/durable/saga/run-saga.ts');
const { recordSaga } = await import('../../../src/durable/saga/record.ts');
const { createOrchestrationClient } = await import('../../../src/durable/client.ts');
const { unwrap } = await import('../../../src/durable/envelope.ts');

const SAGAS = 60;
const saga = sagaOf(
  { before: 2, after: 2 },
  { maxAttempts: 4, backoff: { firstMs: 2, factor: 2, maxMs: 40 } },
);
const worlds = new Map<string, SagaWorld>();
const random = createRandom();

function worldActivity(name: string): (input: unknown) => Promise<unknown> {
  return async (input) => {
    const { sagaId } = input as { readonly sagaId: string };
    const bound: BoundActivity | undefined = worlds.get(sagaId)?.activities(saga)[name];
    if (bound === undefined) throw new Error(`no world of ${sagaId}`);
    await delay(random.below(5));
    return await bound(input, { instanceId: sagaId, logger: silentLogger });
  };
}

const implementation = implementSaga(saga);
df.app.orchestration(implementation.contract.name, (context) =>
  implementation.run(context.df, silentLogger),
);
for (const name of [recordSaga.name, ...saga.steps.map(({ contract }) => contract.name)]) {
  df.app.activity(name, { handler: worldActivity(name) });
}

let host: TestHost;
beforeAll(async () => {
  host = await startTestHost();
});
afterAll(async () => {
  await host.dispose();
});

function rawClient(): RawClient {
  const raw = {
    getStatus: async (id: string) => {
      const { status, body } = await host.call('GET', `/instances/${id}`);
      if (status === 404) throw new Error('the extension replied with HTTP 404 response');
      return body;
    },
    startNew: (name: string, start: { instanceId: string; input: unknown }) =>
      host.start(name, start.input, start.instanceId),
    raiseEvent: async (id: string, name: string, data: unknown) => {
      const { status } = await host.call('POST', `/instances/${id}/raiseEvent/${name}`, data);
      if (status !== 202 && status !== 410) throw new Error(`HTTP ${status}`);
    },
  };
  return raw as unknown as RawClient;
}

/** Operators' words and losses while the saga runs; a lost one is started again to recover. */
async function harass(own: Random, id: string): Promise<void> {
  const client = createOrchestrationClient(rawClient());
  for (let round = 0; round < 6; round++) {
    await delay(own.below(60));
    worlds.get(id)?.release();
    const verb = (['retry', 'skip', 'compensate'] as const)[own.below(3)];
    if (own.next() < 0.5) await client.raise(id, 'operator', { verb, entry: String(round) });
    if (own.next() > 0.15) continue;
    await host.call('POST', `/instances/${id}/terminate?reason=lost`);
    await host.finished(id);
    // What the terminated execution had under way is over before the sweep would come.
    await delay(30);
    await client.startAgain(saga.orchestration, id, { mode: 'recover', input: null });
  }
}

describe('sagas on the local host', () => {
  it('are whole under faults, operators and losses, all at once', async () => {
    const ends = await Promise.all(
      Array.from({ length: SAGAS }, async (_, at) => {
        const own = createRandom(random.seed + at);
        const id = `saga-${at}`;
        const world = new SagaWorld(randomPlan(own, saga, FAULTS, 25));
        worlds.set(id, world);
        const client = createOrchestrationClient(rawClient());
        const start = { mode: 'run' as const, input: null };
        expect(await client.ensureStarted(saga.orchestration, id, start)).toBe('started');
        await harass(own, id);
        const { output } = await host.finished(id, 60_000);
        const outcome = unwrap(saga.orchestration, output);
        world.release();
        return { world, outcome };
      }),
    );
    for (const { world, outcome } of ends) expectWhole(saga, world, outcome);
    const completed = ends.filter(({ outcome }) => outcome.kind === 'completed').length;
    console.log(`seed ${random.seed}: ${SAGAS} sagas, ${completed} completed`);
    host.expectNoErrors();
  }, 120_000);
});
