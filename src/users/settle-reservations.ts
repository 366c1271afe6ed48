import type { Attempt } from '../database/contracts.ts';
import { sqlNow } from '../database/ownership.ts';
import { mapBounded } from '../kernel/bounded.ts';
import { isRetryable } from '../kernel/errors.ts';
import type { UserId } from '../kernel/ids.ts';
import { errorFields } from '../kernel/logger.ts';
import { enterToSeal } from '../sagas/ledger.ts';
import {
  reportOf,
  type OrphanReport,
  type OrphanSettler,
  type OrphanWork,
  type Settled,
} from '../sagas/modules.ts';
import type { Services } from '../services.ts';
import { bucketOf } from '../sharding/hash.ts';
import { READ_OLD_RESERVATIONS } from './directory-statements.ts';
import { confirmReservation, releaseReservation, type Settlement } from './directory.ts';
import { emailKey, type NormalizedEmail } from './email.ts';
import { changeEmailSaga, registerUserSaga } from './saga.ts';
import { lockOwnership, readUser } from './store.ts';

/** Reservations settled at once: each is a few point reads and writes on two shards. */
const AT_ONCE = 4;

/** The row does not say which saga reserved it, and one id is one kind only: closing both does no harm. */
const PIVOTS: readonly string[] = [registerUserSaga, changeEmailSaga].flatMap(({ steps }) =>
  steps.filter((step) => step.role === 'pivot').map((step) => step.name),
);

interface Reservation {
  readonly email: NormalizedEmail;
  readonly userId: UserId;
  readonly sagaId: string;
}

/**
 * Settles reservations of emails whose saga is gone: closes the pivot, so that it cannot come late, then confirms when it
 * was done and releases when it was not (`directory.ts` says why this is safe). Idempotent.
 */
export const reservationSettler: OrphanSettler = { name: 'email-reservations', settle };

async function settle(services: Services, work: OrphanWork): Promise<OrphanReport> {
  const rows = await services.database.onShard(
    work.shard,
    (shard) => shard.query(READ_OLD_RESERVATIONS, [sqlNow(work.olderThanMs), work.limit]),
    { deadlineMs: services.config.SAGA_STEP_DEADLINE_MS },
  );
  const settled = await mapBounded(rows, AT_ONCE, (row) =>
    settleOne(services, work, {
      email: String(row['email']) as NormalizedEmail,
      userId: String(row['user_id']) as UserId,
      sagaId: String(row['saga_id']),
    }),
  );
  return reportOf(settled);
}

async function settleOne(
  services: Services,
  { lifeOf }: OrphanWork,
  reservation: Reservation,
): Promise<Settled> {
  try {
    if ((await lifeOf(reservation.sagaId)) === 'alive') return 'left';
    const kept = await closePivot(services, reservation);
    const isSettled = await write(services, reservation, kept);
    // Its own saga, or another run, was faster.
    if (!isSettled) return 'left';
    const { sagaId } = reservation;
    services.logger.log('warn', 'users.reservation_settled', { sagaId, kept });
    return kept ? 'confirmed' : 'released';
  } catch (error) {
    if (!isRetryable(error)) throw error;
    services.logger.log('warn', 'users.reservation_left', {
      sagaId: reservation.sagaId,
      ...errorFields(error),
    });
    return 'left';
  }
}

/** Whether the email is the user's: the saga's pivot was done, or the user's row has it. After it the pivot never runs. */
function closePivot(services: Services, { sagaId, userId, email }: Reservation): Promise<boolean> {
  const bucket = bucketOf(userId);
  return services.database.onOwner<boolean>(
    bucket,
    (shard) =>
      shard.transaction(async (tx) => {
        let isDone = false;
        for (const step of PIVOTS) {
          const entry = await enterToSeal(tx, { bucket, sagaId, step }, services.clock.nowMs());
          if (entry.kind === 'refused') return entry;
          isDone ||= entry.kind === 'done';
        }
        const user = await readUser(tx, userId);
        if (user.kind === 'refused') return user;
        const hasIt = user.value?.emailKey === emailKey(email);
        return { kind: 'answered', value: isDone || hasIt };
      }),
    { deadlineMs: services.config.SAGA_STEP_DEADLINE_MS },
  );
}

function write(services: Services, reservation: Reservation, keep: boolean): Promise<boolean> {
  const bucket = bucketOf(reservation.email);
  return services.database.onOwner<boolean>(
    bucket,
    (shard) =>
      shard.transaction(async (tx): Promise<Attempt<boolean>> => {
        const fence = await lockOwnership(tx, bucket);
        if (fence.kind === 'refused') return fence;
        const settlement: Settlement = { ...reservation, nowMs: services.clock.nowMs() };
        const settled = keep
          ? await confirmReservation(tx, settlement)
          : await releaseReservation(tx, settlement);
        return { kind: 'answered', value: settled };
      }),
    { deadlineMs: services.config.SAGA_STEP_DEADLINE_MS },
  );
}
