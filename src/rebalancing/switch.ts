import { randomUUID } from 'node:crypto';
import {
  fenceBucket,
  giveBucketAway,
  isGivenAway,
  readFence,
  sqlNow,
  takeBucketOver,
  unfenceBucket,
} from '../database/ownership.ts';
import { AppError, isRetryable } from '../kernel/errors.ts';
import { finishMove } from './finish.ts';
import type { MoveFinish } from './finish.ts';
import { decideGate, DEFAULT_MAX_PASSES, DEFAULT_STALL_LIMIT_MS, fenceHoldMs } from './model.ts';
import type { Move, PassFigures } from './model.ts';
import { RECORD_VERIFIED } from './move-statements.ts';
import { recordedPass, runPass } from './pass.ts';
import type { Pass, PassOutcome, RecordedPass } from './pass.ts';
import type { MoveProgress } from './progress.ts';
import { notHeld, openSession, renewSession } from './session.ts';
import type { MoveServices, MoveSession } from './session.ts';

export interface SwitchOptions {
  /** How long the fence may hold; by {@link fenceHoldMs} when not given. Milliseconds. */
  readonly holdMs?: number;
  /** Longest that writers may have to wait, by forecast; {@link DEFAULT_STALL_LIMIT_MS} when not given. */
  readonly stallLimitMs?: number;
  /** Passes of the move after which it gives up getting under the limit; {@link DEFAULT_MAX_PASSES} when not given. */
  readonly maxPasses?: number;
  /** No pass is begun after this time. Milliseconds. */
  readonly sliceMs: number;
}

export type SwitchOutcome =
  | {
      readonly kind: 'switched';
      /** From the fence to the take-over. */
      readonly stallMs: number;
      /** Parts of it: waiting for writers in flight, verifying, deciding with take-over. */
      readonly parts: readonly [fenceMs: number, verifyMs: number, decideMs: number];
      readonly figures: PassFigures;
      readonly finish: MoveFinish;
    }
  /** The time was up before a pass was short enough; call again. Nothing was fenced. */
  | { readonly kind: 'more'; readonly pass: PassOutcome }
  /** Writers would wait for longer than allowed, and passes do not help: allow more, or cancel. Nothing was fenced. */
  | { readonly kind: 'too-long'; readonly pass: PassOutcome }
  /** The fence was lifted and the source goes on as before; another pass and another try may do. */
  | {
      readonly kind: 'lifted';
      readonly reason: LiftReason;
      readonly fencedMs: number;
      readonly figures: PassFigures | null;
    }
  /** The source does not own the bucket at the move's epoch, or is fenced already: look at the move again. */
  | { readonly kind: 'not-fenced' };

export type LiftReason =
  /** The fence's time was over before the verification was. */
  | 'overrun'
  /** The sides differ although nobody can write: see the log. */
  | 'unsettled'
  /** Somebody lifted the fence, since its end had passed, or another delivery took the move over. */
  | 'lost';

/**
 * Passes until the forecast allows it, then the switch (ADR 0016): fence, last pass as verification of every row, decision
 * at the source, take-over at the target; then map and certificate. Writers of the bucket wait from the fence to the
 * take-over, which is what `stallMs` measures; no write is refused for good.
 *
 * Throws `conflict` (retryable) when another delivery holds the move, before anything was fenced. Whatever else it
 * throws, the fence is lifted first, or lifts itself at its end.
 */
export async function switchBucket(
  services: MoveServices,
  move: Move,
  options: SwitchOptions,
): Promise<SwitchOutcome> {
  const session = await openSession(services, move);
  if (session.record.phase !== 'checking') return { kind: 'not-fenced' };
  const gate = await passGate(session, options);
  if (gate.kind !== 'open') return gate;
  await services.probe.reach('rebalancing.beforeFence', move.id);
  const { stallLimitMs = DEFAULT_STALL_LIMIT_MS } = options;
  const fence = await setFence(session, options.holdMs ?? fenceHoldMs(stallLimitMs));
  if (fence === undefined) return { kind: 'not-fenced' };
  const fencedAtMs = services.clock.monotonicMs();
  const verdict = await underFence(session, fence, gate.pass);
  if (verdict.kind === 'lifted') return verdict;
  await services.probe.reach('rebalancing.afterGiveAway', move.id);
  const stallMs = await takeOver(session, fence);
  await services.probe.reach('rebalancing.afterTakeOver', move.id);
  const finish = await finishMove(services, move, { stallMs });
  const { figures } = verdict;
  const fenceMs = Math.round(fencedAtMs - fence.sentAtMs);
  const verifyMs = figures.digestMs + figures.repairMs;
  const parts = [fenceMs, verifyMs, stallMs - fenceMs - verifyMs] as const;
  services.logger.log('info', 'rebalancing.bucket_switched', {
    moveId: move.id,
    bucketId: move.bucket,
    epoch: session.record.epoch + 1,
    stallMs,
    parts,
    rows: figures.rows,
  });
  return { kind: 'switched', stallMs, parts, figures, finish };
}

type Gate =
  | { readonly kind: 'open'; readonly pass: RecordedPass }
  | Extract<SwitchOutcome, { kind: 'more' | 'too-long' }>;

/** Passes until the switch is short enough; the fence comes right after the last of them. */
async function passGate(session: MoveSession, options: SwitchOptions): Promise<Gate> {
  const { clock } = session.services;
  const endsAtMs = clock.monotonicMs() + options.sliceMs;
  const limits = {
    stallLimitMs: options.stallLimitMs ?? DEFAULT_STALL_LIMIT_MS,
    maxPasses: options.maxPasses ?? DEFAULT_MAX_PASSES,
  };
  let { progress } = session.record;
  for (;;) {
    const pass = await recordedPass(session, progress);
    const { figures: last, passes } = pass.outcome;
    const decision = decideGate({ last, before: progress.lastPass, passes, ...limits });
    if (decision === 'switch') return { kind: 'open', pass };
    if (decision === 'too-long') return { kind: 'too-long', pass: pass.outcome };
    if (clock.monotonicMs() >= endsAtMs) return { kind: 'more', pass: pass.outcome };
    progress = pass.progress;
  }
}

interface Fence {
  readonly token: string;
  readonly epoch: number;
  /** Monotonic; when the statement was sent that set the fence: no writer waits for longer. */
  readonly sentAtMs: number;
  /** Monotonic; before anybody else may lift it, unless clocks run at different speeds: the source's row decides anyway. */
  readonly endsAtMs: number;
  readonly fencedAt: string;
}

/** Undefined when the source does not own the bucket at the move's epoch, or is fenced already. */
async function setFence(session: MoveSession, holdMs: number): Promise<Fence | undefined> {
  const { services, move, record } = session;
  const { clock } = services;
  let sentAtMs = clock.monotonicMs();
  const nowMs = clock.nowMs();
  const tried: string[] = [];
  const token = await session.onSource(async (shard) => {
    // A token for each try: one that was given up may still run when our fence has been lifted, and must not pass for it.
    const fresh = randomUUID();
    tried.push(fresh);
    const change = { bucket: move.bucket, epoch: record.epoch, token: fresh, holdMs, nowMs };
    const onSend = (): void => {
      // Not of a later try: one whose answer was lost may have set the fence.
      if (tried.length === 1) sentAtMs = clock.monotonicMs();
    };
    if (await fenceBucket(shard, { ...change, onSend })) return fresh;
    // The answer to an earlier try was lost: that one has run, and cannot run again.
    const row = await readFence(shard, move.bucket);
    return row.state === 'fenced' ? tried.find((earlier) => earlier === row.token) : undefined;
  });
  if (token === undefined) return undefined;
  // Counted from the granted lock, as the server does; a slow answer only makes it end earlier for us.
  const endsAtMs = sentAtMs + holdMs;
  const fencedAt = new Date(nowMs).toISOString();
  return { token, epoch: record.epoch, sentAtMs, endsAtMs, fencedAt };
}

type Verdict =
  | { readonly kind: 'decided'; readonly figures: PassFigures }
  | Extract<SwitchOutcome, { kind: 'lifted' }>;

/** From the fence to the decision; on every way out but that one the fence is lifted. */
async function underFence(
  session: MoveSession,
  fence: Fence,
  before: RecordedPass,
): Promise<Verdict> {
  const { clock, probe } = session.services;
  let figures: PassFigures | null = null;
  try {
    await probe.reach('rebalancing.afterFence', session.move.id);
    // Writes of before the fence whose end nobody knows (a connection that broke, another delivery) must not come
    // after the verification; under the new token none of them can.
    const held = await renewSession(session, () =>
      Math.max(1, Math.ceil(fence.endsAtMs - clock.monotonicMs())),
    );
    const pass = await runPass(held, before.parts);
    figures = pass.figures;
    if (figures.chunksUnsettled > 0) return await lift(session, fence, figures, 'unsettled');
    await recordVerification(held, fence, before.progress, pass);
    await probe.reach('rebalancing.beforeGiveAway', session.move.id);
    const { move } = session;
    const change = { bucket: move.bucket, epoch: fence.epoch, token: fence.token, to: move.to };
    const given = await held.onSource((shard) =>
      giveBucketAway(shard, { ...change, nowMs: clock.nowMs() }),
    );
    return given ? { kind: 'decided', figures } : await lift(session, fence, figures, 'lost');
  } catch (error) {
    const late = clock.monotonicMs() >= fence.endsAtMs;
    const verdict = await lift(session, fence, figures, late ? 'overrun' : 'lost');
    const told = late || (error instanceof AppError && error.code === 'conflict');
    if (verdict.kind === 'decided' || (told && isRetryable(error))) return verdict;
    throw error;
  }
}

/** What was verified, kept before the decision: a certificate can then be made whoever finishes the move. */
async function recordVerification(
  held: MoveSession,
  fence: Fence,
  before: MoveProgress,
  pass: Pass,
): Promise<void> {
  const progress: MoveProgress = {
    ...before,
    verified: {
      tables: [...pass.tables],
      rowsRepaired: pass.figures.rowsDiffering,
      fencedAt: fence.fencedAt,
      verifiedAt: new Date(held.services.clock.nowMs()).toISOString(),
    },
  };
  const now = sqlNow(held.services.clock.nowMs());
  const values = [JSON.stringify(progress), now, now, held.move.bucket, held.token];
  const { affectedRows } = await held.onTarget((shard) => shard.execute(RECORD_VERIFIED, values));
  if (affectedRows === 0) throw notHeld(held.move);
}

/** Lifts our fence; if the decision was made after all (its answer was lost), says so. */
async function lift(
  session: MoveSession,
  fence: Fence,
  figures: PassFigures | null,
  reason: LiftReason,
): Promise<Verdict> {
  const { services, move } = session;
  const { clock, logger, probe } = services;
  await probe.reach('rebalancing.beforeLift', move.id);
  const { epoch, token } = fence;
  const source = await session.onSource(async (shard) => {
    await unfenceBucket(shard, { bucket: move.bucket, epoch, token, nowMs: clock.nowMs() });
    return await readFence(shard, move.bucket);
  });
  if (figures !== null && isGivenAway(source, { epoch, to: move.to })) {
    return { kind: 'decided', figures };
  }
  const fencedMs = Math.round(clock.monotonicMs() - fence.sentAtMs);
  const fields = { moveId: move.id, bucketId: move.bucket, reason, fencedMs, ...figures };
  logger.log('warn', 'rebalancing.fence_lifted', fields);
  return { kind: 'lifted', reason, fencedMs, figures };
}

/** Makes the target the owner; how long writers waited, milliseconds. */
async function takeOver(session: MoveSession, fence: Fence): Promise<number> {
  const { move, services } = session;
  const change = { bucket: move.bucket, epoch: fence.epoch, nowMs: services.clock.nowMs() };
  // False when a caller that was waiting has done it.
  await session.onTarget((shard) => takeBucketOver(shard, change));
  return Math.round(services.clock.monotonicMs() - fence.sentAtMs);
}
