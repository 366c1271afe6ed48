import { createLookups } from './lookups.ts';
import type { Cursor } from './contracts.ts';
import { copiesPass, readOwned } from './copies-pass.ts';
import { directoryPass, usersPass } from './email-passes.ts';
import { timeOf } from './looks.ts';
import type { BucketSum, CheckName, Chunk } from './model.ts';
import { ordersPass, transfersPass } from './order-passes.ts';
import type { Key, Pass, PassContext, VerificationServices } from './pass.ts';
import { ledgerPass, sagasPass } from './saga-passes.ts';
import type { Suspect } from './suspects.ts';
import { createCounter } from './tally.ts';
import type { Part } from './verification-store.ts';

const PASSES: readonly Pass[] = [
  copiesPass,
  usersPass,
  directoryPass,
  ordersPass,
  transfersPass,
  sagasPass,
  ledgerPass,
];

/** A piece ends with more suspects than this: looking at them again is one activity's work. A page may add some more. */
const MAX_SUSPECTS = 1_000;

/** The passes that these checks need. */
export function passesFor(checks: readonly CheckName[]): readonly Pass[] {
  return PASSES.filter((pass) => pass.checks.some((check) => checks.includes(check)));
}

export interface CheckedPiece {
  readonly part: Part;
  readonly suspects: readonly Suspect[];
}

/**
 * Walks on through a chunk's passes until the chunk, the time of an activity or the room for suspects is at its end.
 * Reads only. Throws `shard-unavailable` when a shard does not answer.
 */
export async function runPiece(
  services: VerificationServices,
  work: {
    readonly checks: readonly CheckName[];
    readonly chunk: Chunk;
    readonly cursor: Cursor | null;
  },
): Promise<CheckedPiece> {
  const { chunk, checks } = work;
  const { clock, config } = services;
  const passes = passesFor(checks);
  const endMs = clock.monotonicMs() + config.VERIFY_ACTIVITY_MS;
  const counter = createCounter(checks);
  const suspects: Suspect[] = [];
  const sums = createSums();
  const context: PassContext = {
    services,
    chunk,
    counter,
    lookups: createLookups(services),
    suspect: (suspect) => suspects.push(suspect),
    addVisible: sums.add,
    staleBefore: timeOf(clock.nowMs() - 2 * config.SAGA_STALE_MS),
  };
  const before = await readOwned(context);
  let pass = work.cursor?.pass ?? 0;
  let after: Key = work.cursor?.after ?? [];
  let rows = 0;
  while (pass < passes.length) {
    const page = await (passes[pass] as Pass).page(context, after);
    rows += page.rows;
    if (page.last === undefined) pass += 1;
    after = page.last ?? [];
    if (clock.monotonicMs() >= endMs || suspects.length >= MAX_SUSPECTS) break;
  }
  const isThrough = pass >= passes.length;
  const next = isThrough ? null : { piece: (work.cursor?.piece ?? 0) + 1, pass, after: [...after] };
  const epochs = new Map(await readOwned(context));
  const owned = before.filter(([bucket, epoch]) => epochs.get(bucket) === epoch);
  counter.figure('lookedAtAgain', suspects.length);
  return {
    suspects,
    part: {
      chunk,
      next,
      rows,
      suspects: suspects.length,
      tally: counter.tally(),
      owned: owned.map(([bucket, epoch]): [number, number] => [bucket, epoch]),
      sums: sums.list(),
    },
  };
}

function createSums(): {
  readonly add: (bucket: number, cents: number) => void;
  readonly list: () => BucketSum[];
} {
  const sums = new Map<number, { orders: number; cents: bigint }>();
  return {
    add: (bucket, cents) => {
      const own = sums.get(bucket) ?? { orders: 0, cents: 0n };
      own.orders += 1;
      own.cents += BigInt(cents);
      sums.set(bucket, own);
    },
    list: () =>
      [...sums].map(([bucket, { orders, cents }]): BucketSum => [bucket, orders, String(cents)]),
  };
}
