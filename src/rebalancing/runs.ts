import { randomUUID } from 'node:crypto';
import type { OrchestrationClient } from '../durable/client.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { Services } from '../services.ts';
import { rebalanceOrchestration, WAKE_EVENT } from './contracts.ts';
import { makePlan, settlePlan } from './plan-run.ts';
import { runPreflight } from './preflight.ts';
import { isOver } from './run-model.ts';
import type { Plan, Preflight, RebalanceRequest, RunState, StoredPlan } from './run-model.ts';
import { newRunState } from './run-state.ts';
import { createRunStore } from './run-store.ts';
import type { RunStore } from './run-store.ts';

/** The plan for a request, kept so that it can be approved by its hash, and what stands against it. */
export async function showPlan(
  services: Services,
  request: RebalanceRequest,
): Promise<Plan & { readonly preflight: Preflight }> {
  const stored: StoredPlan = { goal: goalOf(request), plan: await makePlan(services, request) };
  await createRunStore(services).writePlan(stored);
  return { ...stored.plan, preflight: await runPreflight(services, stored.plan) };
}

export type Started =
  | { readonly kind: 'started'; readonly rebalanceId: string }
  | { readonly kind: 'nothing-to-do'; readonly plan: Plan };

/**
 * Starts a run. Throws `conflict` (permanent) while another one moves buckets, when the approved plan is not today's, and
 * with everything that the preflight found.
 *
 * One at a time: the blob of the current run is replaced by compare-and-set, and only when that run has ended. A run that
 * was accepted and not started, because the process died in between, is started here and counts as running.
 */
export async function startRun(
  services: Services,
  client: OrchestrationClient,
  request: RebalanceRequest,
): Promise<Started> {
  const store = createRunStore(services);
  const current = await store.current.read();
  if (current !== undefined) await refuseWhileItMoves(store, client, current.value);
  const stored = await settlePlan(services, goalOf(request), request.planHash);
  if (stored.plan.moves.length === 0) return { kind: 'nothing-to-do', plan: stored.plan };
  const { problems } = await runPreflight(services, stored.plan);
  if (problems.length > 0) {
    const message = 'The rebalance cannot begin. Settle what is listed, then ask again.';
    throw new PermanentError('conflict', message, { problems });
  }
  const rebalanceId = randomUUID();
  const { config, clock } = services;
  const caps = {
    total: Math.min(request.concurrency ?? config.REBALANCE_MAX_MOVES, config.REBALANCE_MAX_MOVES),
    perSource: config.REBALANCE_MAX_MOVES_PER_SOURCE,
    perTarget: config.REBALANCE_MAX_MOVES_PER_TARGET,
  };
  const state = newRunState({ plan: stored.plan, caps, nowMs: clock.nowMs() });
  // First: whoever finds the run finds what it is to do.
  await store.createRun(rebalanceId, stored, state);
  if (!(await store.current.claim(rebalanceId, current?.etag))) {
    throw runsAlready((await store.current.read())?.value ?? 'another one');
  }
  await services.probe.reach('rebalancing.afterClaim', rebalanceId);
  await client.ensureStarted(rebalanceOrchestration, rebalanceId, { rebalanceId });
  return { kind: 'started', rebalanceId };
}

function goalOf({ targetShards, drain, maxBuckets }: RebalanceRequest): StoredPlan['goal'] {
  return {
    ...(targetShards !== undefined && { targetShards }),
    ...(drain !== undefined && { drain }),
    ...(maxBuckets !== undefined && { maxBuckets }),
  };
}

async function refuseWhileItMoves(
  store: RunStore,
  client: OrchestrationClient,
  rebalanceId: string,
): Promise<void> {
  const state = (await store.readState(rebalanceId))?.value;
  if (state === undefined || isOver(state.status)) return;
  await keepGoing(client, rebalanceId, state);
  throw runsAlready(rebalanceId);
}

function runsAlready(rebalanceId: string): PermanentError {
  return new PermanentError(
    'conflict',
    `A rebalance runs already: ${rebalanceId}. Wait for it, or cancel it; its state is at /api/ops/rebalances/${rebalanceId}.`,
  );
}

/** Starts the orchestration of a run that is not through, if nothing runs under its id: it died, or was never started. */
export async function keepGoing(
  client: OrchestrationClient,
  rebalanceId: string,
  state: Pick<RunState, 'decision'>,
): Promise<void> {
  if (state.decision.kind === 'end') return;
  await client.startAgain(rebalanceOrchestration, rebalanceId, { rebalanceId });
}

/** Keeps the run accepted last going, if it is not through; for the sweep. */
export async function keepRebalance(
  services: Services,
  client: OrchestrationClient,
): Promise<void> {
  const store = createRunStore(services);
  const rebalanceId = (await store.current.read())?.value;
  const state = rebalanceId === undefined ? undefined : await store.readState(rebalanceId);
  if (rebalanceId !== undefined && state !== undefined) {
    await keepGoing(client, rebalanceId, state.value);
  }
}

export type Control = 'pause' | 'resume' | 'cancel';

/**
 * Notes what an operator wants and wakes the run. Idempotent. False: there is no such run. Throws `conflict` when the run
 * has ended (unless it was cancelled, and that is asked again), or is being cancelled and should do something else.
 */
export async function controlRun(
  services: Services,
  client: OrchestrationClient,
  rebalanceId: string,
  control: Control,
): Promise<boolean> {
  const store = createRunStore(services);
  const state = (await store.readState(rebalanceId))?.value;
  if (state === undefined || !(await isKnown(store, rebalanceId, state))) return false;
  if (isOver(state.status)) {
    if (control === 'cancel' && state.status === 'cancelled') return true;
    throw new PermanentError('conflict', `This rebalance has ended: it is ${state.status}.`);
  }
  await store.changeWish(rebalanceId, (wish) => {
    if (control === 'cancel') return 'cancel';
    if (wish === 'cancel') {
      throw new PermanentError('conflict', 'This rebalance is being cancelled.');
    }
    return control === 'pause' ? 'pause' : 'run';
  });
  services.logger.log('info', 'rebalancing.run_controlled', { rebalanceId, control });
  if (!(await client.raise(rebalanceId, WAKE_EVENT, control))) {
    await keepGoing(client, rebalanceId, state);
  }
  return true;
}

/** A run whose claim was lost left its documents behind; it never was. */
export async function isKnown(
  store: RunStore,
  rebalanceId: string,
  state: Pick<RunState, 'round'>,
): Promise<boolean> {
  return state.round > 0 || (await store.current.read())?.value === rebalanceId;
}
