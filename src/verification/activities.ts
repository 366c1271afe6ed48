import { implement } from '../durable/implement.ts';
import type { DurableModule } from '../durable/register.ts';
import { BugError } from '../kernel/errors.ts';
import { BUCKET_COUNT } from '../sharding/hash.ts';
import { passesFor, runPiece } from './check-piece.ts';
import { coveredBuckets, planChunks } from './chunks.ts';
import {
  checkPiece,
  findStrays,
  finishVerification,
  lookAgain,
  LOOKS,
  planVerification,
  verificationContracts,
} from './contracts.ts';
import { conclude, readParts } from './conclude.ts';
import { lookAtAll } from './looks.ts';
import { lane, verification } from './orchestrators.ts';
import { readOwnership } from './ownership.ts';
import type { VerificationServices } from './pass.ts';
import type { Suspect } from './suspects.ts';
import { createCounter } from './tally.ts';
import { createVerificationStore, partName, type StoredPlan } from './verification-store.ts';

/** Chunks of buckets that moved, in one round: every bucket may have. */
const MAX_STRAYS = BUCKET_COUNT;
/** Suspects that the plan has found, and the looks at them. */
const PLAN = 'plan';

export const planActivity = implement(
  planVerification,
  (services: VerificationServices) =>
    async ({ verificationId }) => {
      const { blobs, config, database } = services;
      const store = createVerificationStore(blobs);
      const { checks, shards } = required(await store.readRequest(verificationId));
      const counter = createCounter(checks);
      const suspects: Suspect[] = [];
      // Read in any case: a shard that is away is noticed before anything else is done.
      for (const { bucket, problem, fenced, moving } of await readOwnership(services)) {
        counter.checked('ownership', 1);
        counter.figure('bucketsFenced', fenced ? 1 : 0);
        counter.figure('bucketsMoving', moving ? 1 : 0);
        if (problem !== null && counter.wants('ownership')) {
          suspects.push({ kind: 'bucket', bucket });
        }
      }
      counter.figure('lookedAtAgain', suspects.length);
      const needed = passesFor(checks).length > 0;
      const plan: StoredPlan = {
        tally: counter.tally(),
        suspects: suspects.length,
        chunks: needed
          ? planChunks(shards ?? database.shardIds(), config.VERIFY_CHUNK_BUCKETS)
          : [],
      };
      if (suspects.length > 0) await store.writeSuspects(verificationId, 1, PLAN, suspects);
      const settled = await store.settlePlan(verificationId, plan);
      return {
        chunks: settled.chunks,
        suspects: settled.suspects,
        maxShardsAtOnce: config.VERIFY_MAX_SHARDS_AT_ONCE,
        graceMs: config.VERIFY_GRACE_MS,
      };
    },
);

export const checkPieceActivity = implement(
  checkPiece,
  (services: VerificationServices) =>
    async ({ verificationId, chunk, cursor }) => {
      const store = createVerificationStore(services.blobs);
      const name = partName(chunk, cursor?.piece ?? 0);
      const done = await store.readPart(verificationId, name);
      if (done !== undefined) return { next: done.next, rows: done.rows, suspects: done.suspects };
      const { checks } = required(await store.readRequest(verificationId));
      const { part, suspects } = await runPiece(services, { checks, chunk, cursor });
      // First, so that a part never counts suspects that nobody could look at.
      if (suspects.length > 0) await store.writeSuspects(verificationId, 1, name, suspects);
      const { next, rows, suspects: found } = await store.settlePart(verificationId, name, part);
      return { next, rows, suspects: found };
    },
);

export const lookAgainActivity = implement(
  lookAgain,
  (services: VerificationServices) =>
    async ({ verificationId, look }) => {
      const { blobs, clock, config } = services;
      const store = createVerificationStore(blobs);
      const { checks } = required(await store.readRequest(verificationId));
      const endMs = clock.monotonicMs() + config.VERIFY_ACTIVITY_MS;
      for (;;) {
        const [name] = await store.listSuspects(verificationId, look, 1);
        if (name === undefined) break;
        if (clock.monotonicMs() >= endMs) return { left: 1, more: true };
        const suspects = await store.readSuspects(verificationId, look, name);
        const wrong = await lookAtAll(services, suspects);
        if (wrong.length > 0 && look < LOOKS) {
          const again = wrong.map(({ suspect }) => suspect);
          await store.writeSuspects(verificationId, look + 1, name, again);
        }
        if (wrong.length > 0 && look === LOOKS) {
          const counter = createCounter(checks);
          for (const { violation } of wrong) counter.violation(violation);
          await store.writeLook(verificationId, name, counter.tally());
        }
        // Last: whatever was found is kept when this is delivered again.
        await store.removeSuspects(verificationId, look, name);
      }
      // Not what this delivery saw: one before it may have seen more.
      const left = look < LOOKS ? await store.listSuspects(verificationId, look + 1, 1) : [];
      return { left: left.length, more: false };
    },
);

export const findStraysActivity = implement(
  findStrays,
  (services: VerificationServices) =>
    async ({ verificationId, round }) => {
      const store = createVerificationStore(services.blobs);
      const { shards } = required(await store.readRequest(verificationId));
      // Some shards only: nobody expects every bucket.
      if (shards !== null) return { chunks: [] };
      const covered = coveredBuckets(await readParts(store, verificationId));
      const isMissing = (bucket: number): boolean => !covered.has(bucket);
      const missing = Array.from({ length: BUCKET_COUNT }, (_, bucket) => bucket).filter(isMissing);
      if (missing.length === 0) return { chunks: [] };
      const owners = new Map(
        (await readOwnership(services)).map(({ bucket, owner }) => [bucket, owner]),
      );
      const chunks = missing.slice(0, MAX_STRAYS).flatMap((bucket) => {
        const shard = owners.get(bucket);
        // A bucket without an owner cannot be read: that is for the check of ownership to tell.
        return typeof shard === 'number' ? [{ round, shard, from: bucket, to: bucket }] : [];
      });
      return { chunks };
    },
);

export const finishActivity = implement(
  finishVerification,
  (services: VerificationServices) =>
    async ({ verificationId, failure }) => {
      const store = createVerificationStore(services.blobs);
      const result =
        (await store.readResult(verificationId)) ??
        (await store.settleResult(
          verificationId,
          await conclude(services, store, { verificationId, failure }),
        ));
      await store.removeParts(verificationId);
      return { ok: result.ok };
    },
);

/** What an earlier step has stored; without it there is nothing to go on with. */
function required<T>(value: T | undefined): T {
  if (value === undefined) throw new BugError('a document of the verification is missing');
  return value;
}

/** What the slice brings to `registerDurable`. */
export const verificationDurable: DurableModule<VerificationServices> = {
  contracts: verificationContracts,
  activities: [
    planActivity,
    checkPieceActivity,
    lookAgainActivity,
    findStraysActivity,
    finishActivity,
  ],
  orchestrations: [lane, verification],
};
