import { randomUUID } from 'node:crypto';
import type { OrchestrationClient } from '../durable/client.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { BugError, PermanentError } from '../kernel/errors.ts';
import type { Services } from '../services.ts';
import { laneInstanceId, laneOrchestration, verificationOrchestration } from './contracts.ts';
import { timeOf } from './looks.ts';
import { CHECK_NAMES } from './model.ts';
import type { Verification, VerificationRequest } from './model.ts';
import { createVerificationStore, type VerificationStore } from './verification-store.ts';

type StartServices = Pick<Services, 'blobs' | 'clock' | 'database'>;

/** Steps from the hint to the last run: as many starts as may go on at the moment at which the hint is read. */
const MAX_STEPS = 100;

/**
 * Starts a run. Throws `conflict` (permanent) while one runs: runs form a chain of blobs, each made only when there is
 * none, and a link is added only to a run that has ended, so that there is never more than one at a time. A run that was
 * accepted and not started, because the process died in between, is started here and counts as running.
 */
export async function startVerification(
  services: StartServices,
  client: OrchestrationClient,
  request: VerificationRequest,
): Promise<string> {
  const store = createVerificationStore(services.blobs);
  const shards = checkShards(services, request.shards);
  const last = await findLast(store);
  if (last !== undefined && (await isRunning(store, client, last))) throw runsAlready(last);
  const verificationId = randomUUID();
  const checks = CHECK_NAMES.filter((name) => request.checks?.includes(name) ?? true);
  const startedAt = timeOf(services.clock.nowMs());
  // First: whoever finds the run in the chain finds what it is to do.
  await store.createRequest(verificationId, { checks, shards, startedAt });
  if (!(await store.claimNext(last ?? null, verificationId))) {
    throw runsAlready((await store.readNext(last ?? null)) ?? 'another one');
  }
  await store.writeHint(verificationId);
  await client.ensureStarted(verificationOrchestration, verificationId, { verificationId });
  return verificationId;
}

/**
 * How far a run is, and its result; `latest` is the one that was started last. Undefined when there is none. One that was
 * accepted but never started is started now.
 */
export async function describeVerification(
  services: Pick<Services, 'blobs'>,
  client: OrchestrationClient,
  wanted: string,
): Promise<Verification | undefined> {
  const store = createVerificationStore(services.blobs);
  const id = wanted === 'latest' ? await findLast(store) : wanted;
  if (id === undefined) return undefined;
  const request = await store.readRequest(id);
  if (request === undefined) return undefined;
  const result = await store.readResult(id);
  if (result !== undefined) return result;
  const instance = await client.status(verificationOrchestration, id);
  if (instance === undefined && (await findLast(store)) === id) {
    await client.ensureStarted(verificationOrchestration, id, { verificationId: id });
  }
  const { chunks, lanes } = instance?.status ?? { chunks: 0, lanes: 0 };
  const chunksDone = await countDone(client, id, lanes);
  // It may have ended since the first look.
  const late = await store.readResult(id);
  if (late !== undefined) return late;
  const base = {
    verificationId: id,
    ok: false,
    progress: { chunksDone, chunks },
    checks: [],
    startedAt: request.startedAt,
    finishedAt: null,
  };
  if (!isOver(instance?.state)) return { ...base, status: 'running' };
  const failure = {
    code: 'internal',
    message: 'The verification was ended before it was through.',
  };
  return { ...base, status: 'failed', failure };
}

function checkShards(
  { database }: Pick<StartServices, 'database'>,
  shards: readonly number[] | undefined,
): number[] | null {
  if (shards === undefined) return null;
  const known: readonly number[] = database.shardIds();
  const unknown = shards.findIndex((shard) => !known.includes(shard));
  if (unknown !== -1) {
    const message = `is no shard: they are 0 to ${known.length - 1}`;
    throw PermanentError.validation('The request is not valid.', [
      { path: `/shards/${unknown}`, message },
    ]);
  }
  return [...new Set(shards)].toSorted((a, b) => a - b);
}

async function findLast(store: VerificationStore): Promise<string | undefined> {
  let last = await store.readHint();
  for (let steps = 0; steps < MAX_STEPS; steps += 1) {
    const next = await store.readNext(last ?? null);
    if (next === undefined) return last;
    last = next;
  }
  throw new BugError('the chain of verifications goes on too far behind its hint');
}

async function isRunning(
  store: VerificationStore,
  client: OrchestrationClient,
  id: string,
): Promise<boolean> {
  if ((await store.readResult(id)) !== undefined) return false;
  const instance = await client.status(verificationOrchestration, id);
  if (instance !== undefined) return !isOver(instance.state);
  await client.ensureStarted(verificationOrchestration, id, { verificationId: id });
  return true;
}

function isOver(state: string | undefined): boolean {
  return state === 'completed' || state === 'failed' || state === 'terminated';
}

function runsAlready(id: string): PermanentError {
  return new PermanentError(
    'conflict',
    `A verification runs already: ${id}. Wait for it; its state is at /api/ops/verifications/latest.`,
  );
}

/** Lanes asked at once; there are at most as many as shards may be checked at once. */
const LANES_AT_ONCE = 8;

async function countDone(client: OrchestrationClient, id: string, lanes: number): Promise<number> {
  const indices = Array.from({ length: lanes }, (_, index) => index);
  const done = await mapBounded(indices, LANES_AT_ONCE, async (index) => {
    const lane = await client.status(laneOrchestration, laneInstanceId(id, 0, index));
    return lane?.output?.chunksDone ?? lane?.status?.chunksDone ?? 0;
  });
  return done.reduce((sum, own) => sum + own, 0);
}
