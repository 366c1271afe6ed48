import { mapBounded } from '../kernel/bounded.ts';
import type { Services } from '../services.ts';
import { SHOWN_PLANS } from './run-store.ts';

/** How long a plan that was only shown is kept for approval: a working day, and the night before a window. */
export const SHOWN_PLAN_AGE_MS = 24 * 3_600_000;
/** Plans looked at in one run. Those that are too young fill it up for a day at most, so each gets its turn. */
const LOOKED_AT = 200;
const DELETED_AT_ONCE = 8;

/**
 * Deletes plans of dry runs that are too old, by the time of their blobs; for the sweep. The plan of a run has a blob of its
 * own and stays. A plan that is shown again in this very moment may go as well: its approval is then refused, and says
 * what to do. Idempotent. Throws `storage-unavailable` (retryable).
 */
export async function purgeShownPlans(
  services: Pick<Services, 'blobs' | 'clock' | 'logger'>,
  limits: { readonly lookedAt: number } = { lookedAt: LOOKED_AT },
): Promise<void> {
  const { blobs, clock, logger } = services;
  const plans = await blobs.listDated('control', SHOWN_PLANS, limits.lookedAt);
  const shownBeforeMs = clock.nowMs() - SHOWN_PLAN_AGE_MS;
  const old = plans.filter(({ writtenAtMs }) => writtenAtMs < shownBeforeMs);
  if (old.length === 0) return;
  await mapBounded(old, DELETED_AT_ONCE, ({ name }) => blobs.delete('control', name));
  logger.log('info', 'rebalancing.shown_plans_purged', { plans: old.length });
}
