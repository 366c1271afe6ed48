import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_ID } from '../../../src/kernel/ids.ts';
import {
  nextSnowflake,
  readSnowflake,
  SNOWFLAKE_EPOCH_MS,
  WORKER_COUNT,
} from '../../../src/sharding/snowflake.ts';
import type { SnowflakeState } from '../../../src/sharding/snowflake.ts';

const START = Date.UTC(2026, 0, 1);
const NEVER: SnowflakeState = { lastMs: 0, sequence: 0 };
const anyWorker = fc.integer({ min: 0, max: WORKER_COUNT - 1 });
/** Steps of a clock that also stands still and goes back. */
const anyClock = fc.array(fc.integer({ min: -5, max: 5 }), { maxLength: 300 });

function issue(
  steps: readonly number[],
  worker: number,
  perStep = 1,
): { ids: bigint[]; waitsMs: number[] } {
  let state = NEVER;
  let nowMs = START;
  const ids: bigint[] = [];
  const waitsMs: number[] = [];
  for (const step of steps) {
    nowMs += step;
    for (let count = 0; count < perStep; count++) {
      const outcome = nextSnowflake(state, nowMs, worker);
      if (outcome.kind === 'issued') {
        ids.push(outcome.id);
        ({ state } = outcome);
      } else {
        waitsMs.push(outcome.waitMs);
      }
    }
  }
  return { ids, waitsMs };
}

describe('nextSnowflake', () => {
  it('issues ids that only grow, whatever the clock does', () => {
    fc.assert(
      fc.property(anyClock, anyWorker, (steps, worker) => {
        const { ids, waitsMs } = issue(steps, worker, 3);
        const ascending = [...new Set(ids)].toSorted((a, b) => (a < b ? -1 : 1));
        expect(ids).toEqual(ascending);
        expect(waitsMs.every((waitMs) => waitMs > 0)).toBe(true);
      }),
    );
  });

  it('never gives two workers the same id', () => {
    fc.assert(
      fc.property(anyClock, anyWorker, anyWorker, (steps, one, other) => {
        fc.pre(one !== other);
        const mine = new Set(issue(steps, one).ids);
        expect(issue(steps, other).ids.some((id) => mine.has(id))).toBe(false);
      }),
    );
  });

  it('holds its parts, is positive and leaves bit 62 to derived ids until 2059', () => {
    const latest = Date.UTC(2059, 8, 1);
    fc.assert(
      fc.property(
        fc.integer({ min: SNOWFLAKE_EPOCH_MS + 1, max: latest }),
        anyWorker,
        (nowMs, worker) => {
          const outcome = nextSnowflake(NEVER, nowMs, worker);
          const id = outcome.kind === 'issued' ? outcome.id : -1n;
          expect(readSnowflake(id)).toEqual({ timeMs: nowMs, worker, sequence: 0 });
          expect(id > 0n && id < 1n << 62n && id < MAX_ID).toBe(true);
        },
      ),
    );
  });

  it('waits for the next millisecond when 4096 were issued in one', () => {
    const { ids, waitsMs } = issue([0], 7, 4097);
    expect(ids).toHaveLength(4096);
    expect(waitsMs).toEqual([1]);
    const last = readSnowflake(ids.at(-1) as bigint);
    expect(last).toEqual({ timeMs: START, worker: 7, sequence: 4095 });
  });

  it('waits out a clock that stepped back', () => {
    const state = { lastMs: START + 500, sequence: 3 };
    expect(nextSnowflake(state, START, 1)).toEqual({ kind: 'wait', waitMs: 500 });
  });
});
