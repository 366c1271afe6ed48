import type { Random } from '../test/support/random.ts';

/** What some callers at once got done. */
export interface Driven {
  readonly perSecond: number;
  /** 95th percentile of a call, milliseconds. */
  readonly p95Ms: number;
}

export interface DrivenCalls extends Driven {
  /** How long each call took, milliseconds, ascending. */
  readonly timesMs: readonly number[];
}

/** Has `callers` repeat `work`, each one call after the other, for some milliseconds. What it throws ends it all. */
export async function drive(
  callers: number,
  ms: number,
  work: () => Promise<unknown>,
): Promise<DrivenCalls> {
  const times: number[] = [];
  const startedAtMs = performance.now();
  const caller = async (): Promise<void> => {
    while (performance.now() - startedAtMs < ms) {
      const beganAtMs = performance.now();
      await work();
      times.push(performance.now() - beganAtMs);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const elapsedMs = performance.now() - startedAtMs;
  times.sort((a, b) => a - b);
  return {
    perSecond: (times.length * 1_000) / elapsedMs,
    p95Ms: p95Of(times),
    timesMs: times,
  };
}

/**
 * 95th percentile of the calls of several rounds together. Of the few hundred calls that one caller makes in a round only
 * some twenty are beyond it, and a single slow flush of the disk decides which.
 */
export function pooledP95Ms(rounds: readonly DrivenCalls[]): number {
  return p95Of(rounds.flatMap(({ timesMs }) => timesMs).sort((a, b) => a - b));
}

function p95Of(ascending: readonly number[]): number {
  return ascending[Math.floor(ascending.length * 0.95)] ?? Number.NaN;
}

/**
 * Measures everything once per round, in an order that is drawn anew each time. One round before them warms up and does
 * not count. The n-th results of all belong together.
 */
export async function inRounds<Name extends string, T>(
  options: { readonly rounds: number; readonly random: Random },
  measures: Readonly<Record<Name, () => Promise<T>>>,
): Promise<Readonly<Record<Name, readonly T[]>>> {
  const names = Object.keys(measures) as Name[];
  const results = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<Name, T[]>;
  for (let round = 0; round <= options.rounds; round++) {
    for (const name of shuffled(names, options.random)) {
      const result = await measures[name]();
      if (round > 0) results[name].push(result);
    }
  }
  return results;
}

export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const order = items.map((item) => ({ item, place: random.next() }));
  return order.sort((a, b) => a.place - b.place).map(({ item }) => item);
}
