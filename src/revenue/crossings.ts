import type { Crossing } from '../orders/contracts.ts';

/** One end of a transfer between two buckets, as the ledger of that bucket told together with the bucket's sum. */
export interface Sighting {
  readonly end: 'departure' | 'arrival';
  readonly sagaId: string;
  readonly crossing: Crossing;
}

/**
 * How long before the start of a sum a departure may lie to be set right, milliseconds. A departure that commits between two
 * answers must be in it: its time is that of the begin of its transaction, some seconds earlier at most
 * (`SAGA_STEP_DEADLINE_MS`), by a clock that is off by less than a second. The rest is for orders whose target is away: so
 * long they are counted all the same.
 */
export const HORIZON_MS = 60_000;

/**
 * How much further back ledger rows are read, milliseconds: their time is that of the instance that delivered them last,
 * whose clock may be behind that of the departure.
 */
export const CLOCKS_DIFFER_MS = 10_000;

/**
 * Those of which the other end is not among the given ones. Also for pieces: what is left of some may be given
 * again with more. Departures and arrivals before the horizon must have been left out, both by the time of the departure.
 */
export function halfSeen(sightings: Iterable<Sighting>): Sighting[] {
  const open = new Map<string, Sighting>();
  for (const sighting of sightings) {
    const { sagaId, end } = sighting;
    if ((open.get(sagaId)?.end ?? end) === end) open.set(sagaId, sighting);
    else open.delete(sagaId);
  }
  return [...open.values()];
}

/** What to add to the sum of a bucket. */
export interface Correction {
  readonly bucket: number;
  readonly orders: 1 | -1;
  readonly cents: bigint;
  readonly crossing: Crossing;
}

/**
 * What makes a half-seen transfer count once: each is treated as if it had not happened yet. A departure alone: the order
 * has left the source's sum and is in no other, and is added there. An arrival alone: the source was summed before
 * the order left, so that it is counted twice, and is taken off the target. When the other end's bucket was not
 * summed at all, there is nothing to set right: the order belongs there, or came from there.
 */
export function correctionsOf(
  sightings: Iterable<Sighting>,
  isSummed: (bucket: number) => boolean = () => true,
): Correction[] {
  return halfSeen(sightings).flatMap(({ end, crossing }): Correction[] => {
    const { fromBucket, toBucket } = crossing;
    if (!isSummed(fromBucket) || !isSummed(toBucket)) return [];
    const cents = BigInt(crossing.amountCents);
    return end === 'departure'
      ? [{ bucket: fromBucket, orders: 1, cents, crossing }]
      : [{ bucket: toBucket, orders: -1, cents: -cents, crossing }];
  });
}

/** The bucket that told of it. */
export function bucketOfSighting({ end, crossing }: Sighting): number {
  return end === 'departure' ? crossing.fromBucket : crossing.toBucket;
}
