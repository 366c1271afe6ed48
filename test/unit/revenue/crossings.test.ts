import { describe, expect, test } from 'vitest';
import type { BucketId } from '../../../src/kernel/ids.ts';
import type { AmountCents } from '../../../src/kernel/money.ts';
import type { Timestamp } from '../../../src/kernel/time.ts';
import type { Crossing } from '../../../src/orders/contracts.ts';
import { correctionsOf, halfSeen } from '../../../src/revenue/crossings.ts';
import type { Sighting } from '../../../src/revenue/crossings.ts';
import { combine, correctionGroups, totalsOf } from '../../../src/revenue/model.ts';
import type { ShardAnswer } from '../../../src/revenue/model.ts';
import { createRandom, type Random } from '../../support/random.ts';
import { summedTogether } from '../../support/revenue-answers.ts';

/** Bucket b lies on shard b modulo the number of shards. */
const BUCKETS = 8;
const ORDERS = 10;
/** Digits of a sum in this base tell how often each order is in it. */
const BASE = 4;

interface Event {
  readonly order: number;
  readonly sighting: Sighting;
}

function crossing(order: number, fromBucket: number, toBucket: number): Crossing {
  return {
    fromBucket: fromBucket as BucketId,
    toBucket: toBucket as BucketId,
    amountCents: (BASE ** order) as AmountCents,
    createdAt: '2026-01-01T00:00:00.000Z' as Timestamp,
    departedAtMs: 1,
  };
}

/** Departures and arrivals in the order of their commits; an order departs only from where it is. */
function randomHistory(random: Random, shards: number, most: { readonly hops: number }) {
  const first = Array.from({ length: ORDERS }, () => random.below(BUCKETS));
  const place = first.map((bucket) => ({ bucket, hops: 0 }));
  const pending: Event[] = [];
  const events: Event[] = [];
  const commit = (event: Event): void => {
    events.push(event);
    const { order, sighting } = event;
    const bucket = sighting.crossing.toBucket;
    if (sighting.end === 'arrival') place[order] = { bucket, hops: hopsOf(order) + 1 };
  };
  const hopsOf = (order: number): number => place[order]?.hops ?? 0;
  for (let step = 0; step < 60; step += 1) {
    const order = random.below(ORDERS);
    const from = place[order]?.bucket ?? 0;
    const to = random.below(BUCKETS);
    const own = pending.findIndex((event) => event.order === order);
    const arrived = own === -1 ? undefined : pending.splice(own, 1)[0];
    if (arrived !== undefined) commit(arrived);
    else if (from !== to && hopsOf(order) < most.hops) {
      const sight = { sagaId: `${order}/${events.length}`, crossing: crossing(order, from, to) };
      commit({ order, sighting: { ...sight, end: 'departure' } });
      const arrival: Event = { order, sighting: { ...sight, end: 'arrival' } };
      // Inside a shard it may be one transaction: no snapshot lies between.
      if (from % shards === to % shards && random.below(2) === 0) commit(arrival);
      else pending.push(arrival);
    }
  }
  return { first, events };
}

/** Cuts that fall between the two ends of one transaction are moved behind it. */
function cutOf(random: Random, events: readonly Event[], shards: number): number {
  const cut = random.below(events.length + 1);
  const [before, after] = [events[cut - 1]?.sighting, events[cut]?.sighting];
  const isInside =
    before?.sagaId === after?.sagaId &&
    before?.end === 'departure' &&
    before.crossing.fromBucket % shards === before.crossing.toBucket % shards;
  return isInside ? cut + 1 : cut;
}

/** What a shard answers that saw the first `cut` events only. */
function answerOf(
  { first, events }: ReturnType<typeof randomHistory>,
  { shard, shards, cut }: { readonly shard: number; readonly shards: number; readonly cut: number },
): ShardAnswer {
  const seen = events.slice(0, cut).map(({ sighting }) => sighting);
  const own = (bucket: number): boolean => bucket % shards === shard;
  const sums = Array.from({ length: 1024 }, (_, bucket) => {
    const here = first.flatMap((home, order) => (home === bucket ? [BASE ** order] : []));
    const came = seen.filter(
      ({ end, crossing: { toBucket } }) => end === 'arrival' && toBucket === bucket,
    );
    const left = seen.filter(
      ({ end, crossing: { fromBucket } }) => end === 'departure' && fromBucket === bucket,
    );
    const centsOf = (list: readonly Sighting[]): number =>
      list.reduce((sum, sighting) => sum + sighting.crossing.amountCents, 0);
    const cents = here.reduce((sum, each) => sum + each, 0) + centsOf(came) - centsOf(left);
    const orders = here.length + came.length - left.length;
    return { bucket, epoch: 1, orders, cents: BigInt(cents) };
  }).filter(({ bucket }) => own(bucket));
  const sightings = seen.filter(({ end, crossing: { fromBucket, toBucket } }) =>
    own(end === 'departure' ? fromBucket : toBucket),
  );
  return { shard, sums, sightings };
}

/** How often each order is in a sum. */
function timesCounted(cents: string): number[] {
  const digits = BigInt(cents).toString(BASE).split('').map(Number).toReversed();
  return Array.from({ length: ORDERS }, (_, order) => digits[order] ?? 0);
}

const ONCE = Array.from({ length: ORDERS }, () => 1);

describe('orders transferred between the shards’ answers', () => {
  test('count once each, whatever each shard has seen', () => {
    const random = createRandom();
    console.log(`SEED=${random.seed}`);
    let uncorrected = 0;
    for (let round = 0; round < 1_000; round += 1) {
      const shards = 2 + random.below(3);
      const history = randomHistory(random, shards, { hops: 5 });
      const answers = Array.from({ length: shards }, (_, shard) =>
        answerOf(history, { shard, shards, cut: cutOf(random, history.events, shards) }),
      ).map((answer) => (random.below(2) === 0 ? summedTogether(answer) : answer));
      const { totalCents, orders, perShard } = totalsOf(combine(answers), [0, 1, 2, 3]);
      expect([timesCounted(totalCents), orders], `seed ${random.seed}`).toEqual([ONCE, ORDERS]);
      expect(perShard.reduce((sum, own) => sum + BigInt(own.totalCents), 0n)).toBe(
        BigInt(totalCents),
      );
      const blind = answers.map((answer) => ({ ...answer, sightings: [] }));
      if (totalsOf(combine(blind), []).totalCents !== totalCents) uncorrected += 1;
    }
    console.log(`${uncorrected} of 1000 totals would have been wrong without the ledger's rows`);
    expect(uncorrected).toBeGreaterThan(100);
  });

  test('count at most once when a shard is missing, and once when they had nothing to do with it', () => {
    const random = createRandom();
    for (let round = 0; round < 500; round += 1) {
      const shards = 2 + random.below(3);
      const history = randomHistory(random, shards, { hops: 1 });
      const missing = random.below(shards);
      const answers = Array.from({ length: shards }, (_, shard) =>
        answerOf(history, { shard, shards, cut: cutOf(random, history.events, shards) }),
      ).filter(({ shard }) => shard !== missing);
      const counted = timesCounted(totalsOf(combine(answers), []).totalCents);
      const isThere = (bucket: number): boolean => bucket % shards === missing;
      for (let order = 0; order < ORDERS; order += 1) {
        const ways = history.events.filter((event) => event.order === order);
        const touched = ways.some(({ sighting: { crossing: way } }) =>
          [way.fromBucket, way.toBucket].some(isThere),
        );
        const atHome = history.first[order] ?? 0;
        const [least, most] = touched ? [0, 1] : isThere(atHome) ? [0, 0] : [1, 1];
        expect(counted[order], `seed ${random.seed}`).toBeGreaterThanOrEqual(least);
        expect(counted[order], `seed ${random.seed}`).toBeLessThanOrEqual(most);
      }
    }
  });
});

describe('a transfer of which one end was seen', () => {
  const way = crossing(2, 3, 4);
  const departure: Sighting = { end: 'departure', sagaId: 's', crossing: way };
  const arrival: Sighting = { end: 'arrival', sagaId: 's', crossing: way };

  test('is taken back where it was seen', () => {
    expect(correctionsOf([departure])).toEqual([
      { bucket: 3, orders: 1, cents: 16n, crossing: way },
    ]);
    expect(correctionsOf([arrival])).toEqual([
      { bucket: 4, orders: -1, cents: -16n, crossing: way },
    ]);
    expect(correctionsOf([arrival, departure])).toEqual([]);
  });

  test('is left when the other end was not summed', () => {
    expect(correctionsOf([departure], (bucket) => bucket !== 4)).toEqual([]);
    expect(correctionsOf([arrival], (bucket) => bucket !== 3)).toEqual([]);
  });

  test('may be seen whole later on', () => {
    const other: Sighting = { ...arrival, sagaId: 't' };
    expect(halfSeen([...halfSeen([departure, other]), arrival])).toEqual([other]);
  });

  test('is told by the answer that counts for its bucket only', () => {
    const sum = { bucket: 3, epoch: 1, orders: 1, cents: 16n };
    const former = { shard: 0, sums: [sum], sightings: [] };
    const later = { shard: 1, sums: [{ ...sum, epoch: 2, orders: 0 }], sightings: [departure] };
    expect(combine([former, later]).sightings).toEqual([departure]);
    const stale = { ...former, sightings: [departure] };
    expect(combine([{ ...later, sightings: [] }, stale]).sightings).toEqual([]);
  });

  test('is part of a report by the time of its order', () => {
    const corrections = correctionsOf([departure]);
    const all = { from: null, to: null };
    expect(correctionGroups(corrections, { ...all, groupBy: 'none' })).toEqual([[0, 1, '16']]);
    expect(correctionGroups(corrections, { ...all, groupBy: 'month' })).toEqual([
      [202601, 1, '16'],
    ]);
    expect(correctionGroups(corrections, { ...all, groupBy: 'day' })).toEqual([
      [20260101, 1, '16'],
    ]);
    const { createdAt } = way;
    const from = { from: createdAt, to: null, groupBy: 'none' } as const;
    expect(correctionGroups(corrections, from)).toHaveLength(1);
    const until = { from: null, to: createdAt, groupBy: 'none' } as const;
    expect(correctionGroups(corrections, until)).toEqual([]);
  });
});
