import { describe, expect, test } from 'vitest';
import type { ShardedDatabase } from '../../../src/database/contracts.ts';
import type { OrchestrationClient, RuntimeState } from '../../../src/durable/client.ts';
import { verificationRoutes } from '../../../src/verification/http.ts';
import type { Verification } from '../../../src/verification/model.ts';
import { createVerificationStore } from '../../../src/verification/verification-store.ts';
import { createFakeServices } from '../../support/fake-services.ts';
import { createMemoryBlobs } from '../../support/memory-blobs.ts';
import { createRouteCaller } from '../../support/route-caller.ts';

function createScene() {
  const states = new Map<string, RuntimeState>();
  const scene = { startFails: false };
  const client = {
    ensureStarted: (_contract: unknown, id: string) => {
      if (scene.startFails) return Promise.reject(new Error('the process died'));
      if (!states.has(id)) states.set(id, 'running');
      return Promise.resolve('started');
    },
    status: (_contract: unknown, id: string) => {
      const state = states.get(id);
      return Promise.resolve(state && { state, status: undefined, output: undefined });
    },
  } as unknown as OrchestrationClient;
  const blobs = createMemoryBlobs();
  const database = { shardIds: () => [0, 1, 2] } as unknown as ShardedDatabase;
  const services = createFakeServices({ blobs, database });
  const call = createRouteCaller(services, verificationRoutes, {
    input: { type: 'durableClient', name: 'client' },
    clientOf: () => client,
  });
  const store = createVerificationStore(blobs);
  return {
    scene,
    states,
    store,
    blobs,
    start: (json: object = {}) => call('verifications-create', { json }),
    get: (verificationId: string) => call('verifications-get', { params: { verificationId } }),
    end: (verificationId: string, part: Partial<Verification> = {}) =>
      store.settleResult(verificationId, {
        verificationId,
        status: 'completed',
        ok: true,
        progress: { chunksDone: 1, chunks: 1 },
        checks: [],
        startedAt: '2026-01-01T00:00:00.000Z',
        finishedAt: '2026-01-01T00:00:01.000Z',
        ...part,
      }),
  };
}

const idOf = (reply: { readonly json: Readonly<Record<string, unknown>> }): string =>
  String(reply.json['verificationId']);

describe('starting', () => {
  test('says where to look, and keeps what was asked', async () => {
    const { start, states, store } = createScene();
    const reply = await start({ checks: ['sagas', 'rows'], shards: [2, 0, 2] });
    expect(reply.status).toBe(202);
    const id = idOf(reply);
    expect(reply.json['statusUrl']).toBe(`/api/ops/verifications/${id}`);
    expect(reply.headers['location']).toBe(reply.json['statusUrl']);
    expect([...states.keys()]).toEqual([id]);
    expect(await store.readRequest(id)).toMatchObject({
      checks: ['rows', 'sagas'],
      shards: [0, 2],
    });
  });

  test('is refused while one runs, and goes again when it has ended, however', async () => {
    const { start, states, end } = createScene();
    const first = idOf(await start());
    const refused = await start();
    expect(refused).toMatchObject({ status: 409, json: { code: 'conflict' } });
    expect(refused.text).toContain(first);
    await end(first);
    const second = idOf(await start());
    states.set(second, 'terminated');
    const third = await start();
    expect(third.status).toBe(202);
    expect(new Set([first, second, idOf(third)]).size).toBe(3);
  });

  test('many at once start one', async () => {
    const { start, states, end } = createScene();
    for (let round = 0; round < 3; round += 1) {
      const replies = await Promise.all(Array.from({ length: 8 }, () => start()));
      const started = replies.filter(({ status }) => status === 202);
      expect(started).toHaveLength(1);
      expect(replies.filter(({ status }) => status === 409)).toHaveLength(7);
      expect(states.size).toBe(round + 1);
      for (const reply of started) await end(idOf(reply));
    }
  });

  test('one that was accepted and never begun is begun by whoever asks next', async () => {
    for (const next of ['start', 'get'] as const) {
      const { start, get, scene, states } = createScene();
      scene.startFails = true;
      expect((await start()).status).toBe(500);
      scene.startFails = false;
      const reply = next === 'start' ? await start() : await get('latest');
      expect(reply.status).toBe(next === 'start' ? 409 : 200);
      expect(states.size).toBe(1);
    }
  });

  test('finds the last run without its hint', async () => {
    const { start, end, blobs } = createScene();
    await end(idOf(await start()));
    const second = idOf(await start());
    blobs.texts.delete('verifications/latest.json');
    expect((await start()).text).toContain(second);
  });

  test.each([
    [{ checks: [] }, '/checks'],
    [{ checks: ['luck'] }, '/checks/0'],
    [{ shards: [0, 7] }, '/shards/1'],
    [{ shards: [-1] }, '/shards/0'],
    [{ deep: true }, '/deep'],
  ])('%j is refused, naming %s', async (json, path) => {
    const { start, states } = createScene();
    const reply = await start(json);
    expect(reply).toMatchObject({ status: 400, json: { code: 'validation-failed' } });
    expect(JSON.stringify(reply.json['errors'])).toContain(`"path":"${path}"`);
    expect(states.size).toBe(0);
  });
});

describe('looking', () => {
  test('at none is 404, whatever the id looks like', async () => {
    const { get } = createScene();
    for (const id of ['latest', '00000000-0000-4000-8000-000000000000', '../control']) {
      expect((await get(id)).status).toBe(404);
    }
  });

  test('shows that it runs, is never ok before its end, and shows the end', async () => {
    const { start, get, end } = createScene();
    const id = idOf(await start());
    expect((await get(id)).json).toMatchObject({ status: 'running', ok: false, finishedAt: null });
    await end(id);
    expect((await get('latest')).json).toMatchObject({
      verificationId: id,
      status: 'completed',
      ok: true,
    });
  });

  test('at one that was ended from outside says that it failed', async () => {
    const { start, get, states } = createScene();
    const id = idOf(await start());
    states.set(id, 'terminated');
    expect((await get(id)).json).toMatchObject({ status: 'failed', ok: false });
  });
});
