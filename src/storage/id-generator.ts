import type { Clock } from '../kernel/clock.ts';
import { RetryableError } from '../kernel/errors.ts';
import type { OrderId, UserId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Logger } from '../kernel/logger.ts';
import { WORKER_COUNT } from '../sharding/snowflake.ts';
import type { IdGenerator } from './contracts.ts';
import {
  decideTakeover,
  issue,
  lastIssuedMs,
  leaseTerms,
  nextPromise,
  probeOrder,
  takenOver,
} from './lease-state.ts';
import type { HeldWorker } from './lease-state.ts';
import type { WorkerLease, WorkerLeases } from './worker-lease.ts';

export interface IdGeneratorOptions {
  readonly leases: WorkerLeases;
  /** 15 … 60, the service's range for leases that end by themselves. */
  readonly leaseSeconds: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** Runs `run` after `ms` unless cancelled by the function returned; must not keep the process alive. */
  readonly startTimer: (ms: number, run: () => void) => () => void;
}

/** An {@link IdGenerator} with an end: `close` gives the number back, and no id is issued after it. */
export interface LeasedIdGenerator extends IdGenerator {
  /** The number held now; undefined before the first id, after the lease was lost, and after `close`. */
  worker(): number | undefined;
  close(): Promise<void>;
}

/** A timer for {@link IdGeneratorOptions.startTimer} that lets the process end. */
export function startUnrefTimer(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms);
  timer.unref();
  return () => {
    clearTimeout(timer);
  };
}

/** How long one id may take, a number to be leased included, unless a long takeover wait is already under way. */
const ISSUE_DEADLINE_MS = 10_000;
const ACQUIRE_DEADLINE_MS = 20_000;
/** After a renewal that did not get through; the lease leaves room for several. */
const RENEW_AGAIN_MS = 1_000;

interface Session {
  readonly lease: WorkerLease;
  held: HeldWorker;
}

/**
 * Leases a number with the first id, renews it at a third of the lease, and takes another one whenever it
 * cannot be sure of it any more. Once a number is held, issuing is synchronous inside: up to 4 096 ids per
 * millisecond without a call to the outside.
 */
export function createIdGenerator(options: IdGeneratorOptions): LeasedIdGenerator {
  const { clock, logger } = options;
  const terms = leaseTerms(options.leaseSeconds);
  let session: Session | undefined;
  let acquiring: Promise<Session> | undefined;
  let renewing: Promise<void> | undefined;
  let stopTimer = (): void => undefined;
  let closed = false;

  const drop = (lost: Session, reason: string): void => {
    if (session !== lost) return;
    session = undefined;
    stopTimer();
    logger.log('warn', 'ids.worker_number_lost', { worker: lost.lease.worker, reason });
  };

  const renew = async (current: Session): Promise<void> => {
    const renewedAtMs = clock.monotonicMs();
    const issuedUntilMs = nextPromise(current.held.issuedUntilMs, clock.nowMs(), terms);
    const kept = (await current.lease.renew()) && (await current.lease.promise(issuedUntilMs));
    if (!kept) {
      drop(current, 'lease-taken');
      return;
    }
    // Ids went on being issued meanwhile: only the two times change.
    current.held = { ...current.held, renewedAtMs, issuedUntilMs };
  };

  const renewShared = (current: Session): Promise<void> => {
    renewing ??= renew(current).finally(() => {
      renewing = undefined;
    });
    return renewing;
  };

  const scheduleRenewal = (current: Session, ms: number): void => {
    stopTimer();
    stopTimer = options.startTimer(ms, () => {
      renewShared(current).then(
        () => {
          if (session === current) scheduleRenewal(current, terms.leaseMs / 3);
        },
        (error: unknown) => {
          logger.log('warn', 'ids.renewal_failed', {
            worker: current.lease.worker,
            ...errorFields(error),
          });
          if (session === current) scheduleRenewal(current, RENEW_AGAIN_MS);
        },
      );
    });
  };

  const acquire = async (): Promise<Session> => {
    const { lease, held } = await takeNumber(options);
    const taken: Session = { lease, held };
    if (closed) {
      await giveBack(taken);
      throw shuttingDown();
    }
    session = taken;
    scheduleRenewal(taken, terms.leaseMs / 3);
    logger.log('info', 'ids.worker_number_leased', { worker: lease.worker });
    return taken;
  };

  const acquireShared = (): Promise<Session> => {
    acquiring ??= acquire().finally(() => {
      acquiring = undefined;
    });
    return acquiring;
  };

  const next = async (): Promise<string> => {
    const startMs = clock.monotonicMs();
    do {
      if (closed) throw shuttingDown();
      const current = session ?? (await acquireShared());
      const monotonicMs = clock.monotonicMs();
      const step = issue(current.held, { nowMs: clock.nowMs(), monotonicMs }, terms);
      if (step.kind === 'issued' && session === current) {
        current.held = step.held;
        return String(step.id);
      }
      if (step.kind === 'wait') await clock.sleep(step.waitMs);
      else if (step.kind === 'renew') await renewShared(current);
      else if (step.kind === 'abandon') drop(current, step.reason);
    } while (clock.monotonicMs() - startMs < ISSUE_DEADLINE_MS);
    throw noId('no id within the time limit');
  };

  return {
    nextUserId: async () => (await next()) as UserId,
    nextOrderId: async () => (await next()) as OrderId,
    worker: () => session?.lease.worker,
    close: async () => {
      closed = true;
      stopTimer();
      await Promise.allSettled([acquiring, renewing]);
      const last = session;
      session = undefined;
      if (last === undefined) return;
      try {
        await giveBack(last);
      } catch (error) {
        // It ends by itself; the next holder then starts above the last promise.
        logger.log('warn', 'ids.release_failed', errorFields(error));
      }
    },
  };
}

/** Leases a number, waits until its past is over, and stores the first promise. */
async function takeNumber(
  options: IdGeneratorOptions,
): Promise<{ readonly lease: WorkerLease; readonly held: HeldWorker }> {
  const { clock } = options;
  const terms = leaseTerms(options.leaseSeconds);
  const startMs = clock.monotonicMs();
  let refused = 0;
  for (const worker of probeOrder(WORKER_COUNT, options.random)) {
    if (clock.monotonicMs() - startMs > ACQUIRE_DEADLINE_MS) break;
    let renewedAtMs = clock.monotonicMs();
    const lease = await options.leases.tryAcquire(worker, options.leaseSeconds);
    if (lease === undefined) continue;
    const { promisedMs } = lease;
    const takeover = decideTakeover(promisedMs, clock.nowMs(), refused);
    if (takeover.kind === 'refuse') {
      refused += 1;
      const { behindMs } = takeover;
      options.logger.log('warn', 'ids.worker_number_refused', { worker, behindMs });
      await lease.release();
      continue;
    }
    if (takeover.waitMs > 0) {
      await clock.sleep(takeover.waitMs);
      renewedAtMs = clock.monotonicMs();
      if (!(await lease.renew())) continue;
    }
    const issuedUntilMs = nextPromise(promisedMs, clock.nowMs(), terms);
    if (!(await lease.promise(issuedUntilMs))) continue;
    return { lease, held: takenOver({ worker, promisedMs, renewedAtMs, issuedUntilMs }) };
  }
  throw noId(refused > 0 ? 'the clock is behind that of earlier instances' : 'no free number');
}

/** The exact last time used replaces the promise, so that the next holder need not wait for it. */
async function giveBack(last: Session): Promise<void> {
  if (await last.lease.promise(lastIssuedMs(last.held))) await last.lease.release();
}

function noId(reason: string): RetryableError {
  return new RetryableError(
    'storage-unavailable',
    'No new number can be given out at the moment. Try again shortly.',
    { retryAfterSeconds: 2, details: { reason } },
  );
}

function shuttingDown(): RetryableError {
  return noId('this instance is shutting down');
}
