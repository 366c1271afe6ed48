import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OrchestrationClient } from '../../src/durable/client.ts';
import type { AppError } from '../../src/kernel/errors.ts';
import type { BucketId, ShardId } from '../../src/kernel/ids.ts';
import { describeRun } from '../../src/rebalancing/describe-run.ts';
import { createRunStore } from '../../src/rebalancing/run-store.ts';
import {
  keepRebalance,
  controlRun,
  showPlan,
  startRun,
  type Control,
} from '../../src/rebalancing/runs.ts';
import type { Services } from '../../src/services.ts';
import { insertPlainRows } from '../support/moves/rows.ts';
import { idleClient, runServices } from '../support/moves/run-services.ts';
import { createMoves } from '../support/moves/scenes.ts';
import { createMoveWorld, deadAt, Killed, runMove } from '../support/moves/world.ts';
import type { MoveWorld } from '../support/moves/world.ts';

/** Runs are started one at a time, whoever dies, and only with the plan that was approved. */
let world: MoveWorld;
const freshMove = createMoves(() => world);

beforeAll(async () => {
  world = await createMoveWorld();
});
afterAll(() => world.drop());

const servicesWith = (): Services => runServices(world);

describe('the start', () => {
  function recordingClient(): { readonly started: string[]; readonly client: OrchestrationClient } {
    const started: string[] = [];
    const start = (_: unknown, id: string): void => {
      if (!started.includes(id)) started.push(id);
    };
    return {
      started,
      client: {
        ...idleClient,
        ensureStarted: (contract, id) => {
          start(contract, id);
          return Promise.resolve('started');
        },
        startAgain: (contract, id) => {
          start(contract, id);
          return Promise.resolve('started');
        },
      },
    };
  }
  const request = { dryRun: false, drain: [2 as ShardId], maxBuckets: 3 };

  it('of several at once one has the cluster', async () => {
    const services = servicesWith();
    const recording = recordingClient();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 5 }, () => startRun(services, recording.client, request)),
    );
    const refused = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [(outcome.reason as AppError).code] : [],
    );
    expect(refused).toEqual(['conflict', 'conflict', 'conflict', 'conflict']);
    expect(recording.started).toHaveLength(1);
  });

  it('a run that was claimed by a process that died is started by who comes next', async () => {
    const services = servicesWith();
    const dead = { ...services, probe: deadAt('rebalancing.afterClaim') };
    const recording = recordingClient();
    await expect(startRun(dead, recording.client, request)).rejects.toThrow(Killed);
    expect(recording.started).toEqual([]);
    await expect(startRun(services, recording.client, request)).rejects.toMatchObject({
      code: 'conflict',
    });
    const current = await createRunStore(services).current.read();
    expect(recording.started).toEqual([current?.value]);
    const shown = await describeRun(services, recording.client, String(current?.value));
    expect(shown).toMatchObject({ status: 'planned', progress: { buckets: 3 } });
  });

  it('a run that was claimed by a process that died is started by the sweep', async () => {
    const services = servicesWith();
    const recording = recordingClient();
    await keepRebalance(services, recording.client);
    expect(recording.started).toEqual([]);
    const dead = { ...services, probe: deadAt('rebalancing.afterClaim') };
    await expect(startRun(dead, recording.client, request)).rejects.toThrow(Killed);
    await keepRebalance(services, recording.client);
    const current = await createRunStore(services).current.read();
    expect(recording.started).toEqual([current?.value]);
  });

  it('carries out the approved plan, or none', async () => {
    const services = servicesWith();
    const recording = recordingClient();
    const shown = await showPlan(services, { ...request, dryRun: true });
    const { planHash } = shown;
    const other = { ...request, maxBuckets: 4, planHash };
    await expect(startRun(services, recording.client, other)).rejects.toMatchObject({
      code: 'conflict',
    });
    // Sizes have changed since, which is not the map.
    const [first] = shown.moves;
    await world.on(2, (shard) => insertPlainRows(shard, Number(first?.bucket) as BucketId, 50));
    const approved = await startRun(services, recording.client, { ...request, planHash });
    if (approved.kind !== 'started') throw new Error('it was not started');
    const stored = await createRunStore(services).readRunPlan(approved.rebalanceId);
    expect(stored?.plan.planHash).toBe(planHash);
    const again = servicesWith();
    const before = await showPlan(again, { ...request, dryRun: true });
    await runMove(world.services, await freshMove(0));
    await expect(
      startRun(again, recording.client, { ...request, planHash: before.planHash }),
    ).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('version') as string,
    });
  });

  it('is controlled, and says so when it is not there or over', async () => {
    const services = servicesWith();
    const { client: own } = recordingClient();
    const started = await startRun(services, own, request);
    if (started.kind !== 'started') throw new Error('it was not started');
    const { rebalanceId } = started;
    const store = createRunStore(services);
    const control = (verb: Control): Promise<boolean> =>
      controlRun(services, own, rebalanceId, verb);
    expect(await controlRun(services, own, 'nothing', 'pause')).toBe(false);
    for (const verb of ['pause', 'pause', 'resume', 'pause', 'cancel', 'cancel'] as const) {
      expect(await control(verb)).toBe(true);
    }
    expect(await store.readWish(rebalanceId)).toBe('cancel');
    await expect(control('resume')).rejects.toMatchObject({ code: 'conflict' });
    const state = await store.readState(rebalanceId);
    if (state === undefined) throw new Error('there is a state');
    const over = { ...state.value, round: 1, status: 'completed' as const };
    await store.replaceState(rebalanceId, over, state.etag);
    await expect(control('cancel')).rejects.toMatchObject({ code: 'conflict' });
    // And another one may begin.
    expect(await startRun(services, own, request)).toMatchObject({ kind: 'started' });
  });
});
