import { mapBounded } from '../kernel/bounded.ts';
import { timeOf } from './looks.ts';
import { coveredBuckets } from './chunks.ts';
import { CHECK_NAMES } from './model.ts';
import type { Tally, Verification, VerificationFailure } from './model.ts';
import type { VerificationServices } from './pass.ts';
import { addTallies, checkResults, EMPTY_TALLY, figuresOf } from './tally.ts';
import type { Part, VerificationStore } from './verification-store.ts';

/** Parts read at once. */
const PARTS_AT_ONCE = 8;

export async function readParts(store: VerificationStore, id: string): Promise<Part[]> {
  const names = await store.listParts(id);
  const parts = await mapBounded(names, PARTS_AT_ONCE, (name) => store.readPart(id, name));
  return parts.filter((part) => part !== undefined);
}

/** The result of a run: what all pieces found, or why there is none. Only a run that is through can be `ok`. */
export async function conclude(
  services: VerificationServices,
  store: VerificationStore,
  run: { readonly verificationId: string; readonly failure: VerificationFailure | undefined },
): Promise<Verification> {
  const { verificationId } = run;
  const finishedAt = timeOf(services.clock.nowMs());
  const request = await store.readRequest(verificationId);
  const checks = request?.checks ?? CHECK_NAMES;
  const plan = await store.readPlan(verificationId);
  const parts = await readParts(store, verificationId);
  const looks = await store.readLooks(verificationId);
  const tally = [plan?.tally ?? EMPTY_TALLY, ...parts.map((part) => part.tally), ...looks].reduce(
    (sum: Tally, own) => addTallies(sum, own),
  );
  const chunksDone = parts.filter(({ chunk, next }) => chunk.round === 0 && next === null).length;
  const base = {
    verificationId,
    progress: { chunksDone, chunks: plan?.chunks.length ?? 0 },
    checks: checkResults(tally, checks),
    startedAt: request?.startedAt ?? finishedAt,
    finishedAt,
  };
  if (run.failure !== undefined) {
    const failure = await explain(services, run.failure);
    return { ...base, status: 'failed', ok: false, failure };
  }
  const sums = [...coveredBuckets(parts).values()];
  const ordersVisible = sums.reduce((sum, { orders }) => sum + orders, 0);
  const visibleCents = String(sums.reduce((sum, { cents }) => sum + cents, 0n));
  return {
    ...base,
    status: 'completed',
    ok: base.checks.every(({ ok }) => ok),
    figures: figuresOf(tally, { ordersVisible, visibleCents }),
  };
}

/** Says which shards do not answer, if any: the first thing to know of a run that failed. */
async function explain(
  { database, config }: VerificationServices,
  failure: VerificationFailure,
): Promise<VerificationFailure> {
  const states = await mapBounded(database.shardIds(), config.VERIFY_MAX_SHARDS_AT_ONCE, (shard) =>
    database.inspect(shard),
  );
  const away = states
    .filter(({ reachable }) => !reachable)
    .map(({ id, name }) => `${id} (${name})`);
  if (away.length === 0) return failure;
  return {
    code: 'shard-unavailable',
    message: `The verification could not be finished: shard ${away.join(', ')} does not answer. Nothing is known about what was not checked; start it again when the shard is back.`,
  };
}
