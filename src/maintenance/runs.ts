import { randomUUID } from 'node:crypto';
import type { OrchestrationClient } from '../durable/client.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import { maintenanceOrchestration, WAKE_EVENT } from './contracts.ts';
import { noteStarted } from './report.ts';
import { isOver } from './run-model.ts';
import type { MaintenanceRequest, RunState } from './run-model.ts';
import { newRunState } from './run-state.ts';
import { createRunStore, type RunStore } from './run-store.ts';

export interface RunOptions {
  readonly by: RunState['by'];
  readonly request: MaintenanceRequest;
  /** Milliseconds since 1970; default: a whole window from now. */
  readonly windowEndsAtMs?: number;
}

/**
 * Starts a run and gives its id. Throws `conflict` (permanent) while one runs, and `validation-failed` for a shard that
 * there is not.
 *
 * One at a time: the blob of the current run is replaced by compare-and-set, and only when that run has ended. A run that
 * was accepted and not started, because the process died in between, is started here and counts as running.
 */
export async function startRun(
  services: Services,
  client: OrchestrationClient,
  options: RunOptions,
): Promise<string> {
  const { config, clock, probe } = services;
  const store = createRunStore(services);
  const shards = shardsOf(services, options.request.shards);
  const current = await store.current.read();
  if (current !== undefined) await refuseWhileItRuns(store, client, current.value);
  const maintenanceId = randomUUID();
  const nowMs = clock.nowMs();
  const state = newRunState({
    by: options.by,
    request: options.request,
    shards,
    caps: {
      shards: config.MAINTENANCE_SHARDS_AT_ONCE,
      tries: config.MAINTENANCE_UNIT_TRIES,
      retryMs: config.MAINTENANCE_RETRY_MS,
    },
    nowMs,
    windowEndsAtMs: options.windowEndsAtMs ?? nowMs + windowMsOf(services),
  });
  // First: whoever finds the run finds what it is to do, and what deletes it one day finds it too.
  await noteStarted(services, maintenanceId, nowMs);
  await store.createRun(maintenanceId, state);
  if (!(await store.current.claim(maintenanceId, current?.etag))) {
    throw runsAlready((await store.current.read())?.value ?? 'another one');
  }
  await probe.reach('maintenance.afterClaim', maintenanceId);
  await client.ensureStarted(maintenanceOrchestration, maintenanceId, { maintenanceId });
  services.logger.log('info', 'maintenance.run_started', { maintenanceId, by: options.by });
  return maintenanceId;
}

export function windowMsOf({ config }: Pick<Services, 'config'>): number {
  return config.MAINTENANCE_WINDOW_MINUTES * 60_000;
}

function shardsOf(
  { database }: Pick<Services, 'database'>,
  asked: readonly ShardId[] | undefined,
): readonly ShardId[] {
  const known = database.shardIds();
  if (asked === undefined) return known;
  const unknown = asked.findIndex((shard) => !known.includes(shard));
  if (unknown !== -1) {
    const message = `is no shard: they are 0 to ${known.length - 1}`;
    throw PermanentError.validation('The request is not valid.', [
      { path: `/shards/${unknown}`, message },
    ]);
  }
  return [...new Set(asked)].toSorted((a, b) => a - b);
}

async function refuseWhileItRuns(
  store: RunStore,
  client: OrchestrationClient,
  maintenanceId: string,
): Promise<void> {
  const state = (await store.readState(maintenanceId))?.value;
  if (state === undefined || isOver(state.status)) return;
  await keepGoing(client, maintenanceId, state);
  throw runsAlready(maintenanceId);
}

function runsAlready(maintenanceId: string): PermanentError {
  return new PermanentError(
    'conflict',
    `Maintenance runs already: ${maintenanceId}. Wait for it, or cancel it; its state is at /api/ops/maintenance/${maintenanceId}.`,
  );
}

/** Starts the orchestration of a run that is not through, if nothing runs under its id: it died, or was never started. */
export async function keepGoing(
  client: OrchestrationClient,
  maintenanceId: string,
  state: Pick<RunState, 'status'>,
): Promise<void> {
  if (isOver(state.status)) return;
  await client.startAgain(maintenanceOrchestration, maintenanceId, { maintenanceId });
}

/** Keeps the run accepted last going, if it is not through; for the sweep. */
export async function keepMaintenance(
  services: Services,
  client: OrchestrationClient,
): Promise<void> {
  const store = createRunStore(services);
  const maintenanceId = (await store.current.read())?.value;
  const state = maintenanceId === undefined ? undefined : await store.readState(maintenanceId);
  if (maintenanceId !== undefined && state !== undefined) {
    await keepGoing(client, maintenanceId, state.value);
  }
}

/**
 * Has a run end: nothing is begun any more, what is being done is done to its end. Idempotent. False: there is no such run.
 * Throws `conflict` when it has ended otherwise.
 */
export async function cancelRun(
  services: Services,
  client: OrchestrationClient,
  maintenanceId: string,
): Promise<boolean> {
  const store = createRunStore(services);
  const state = (await store.readState(maintenanceId))?.value;
  if (state === undefined || !(await isKnown(store, maintenanceId, state))) return false;
  if (state.status === 'cancelled') return true;
  if (isOver(state.status)) {
    throw new PermanentError('conflict', `This run has ended: it is ${state.status}.`);
  }
  await store.wishCancel(maintenanceId);
  services.logger.log('info', 'maintenance.run_cancelled', { maintenanceId });
  if (!(await client.raise(maintenanceId, WAKE_EVENT, 'cancel'))) {
    await keepGoing(client, maintenanceId, state);
  }
  return true;
}

/** A run whose claim was lost left its documents behind; it never was. */
export async function isKnown(
  store: RunStore,
  maintenanceId: string,
  state: Pick<RunState, 'round'>,
): Promise<boolean> {
  return state.round > 0 || (await store.current.read())?.value === maintenanceId;
}
