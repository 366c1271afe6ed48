import type { Profiler } from 'node:inspector';
import { expect, test } from 'vitest';
import { sharesOf } from '../../../bench/profile-shares.ts';

/** One node for each function, and how long it was seen, in microseconds. */
function profileOf(seen: readonly (readonly [name: string, url: string, micros: number])[]) {
  const nodes = seen.map(([functionName, url], index) => ({
    id: index + 1,
    callFrame: { functionName, scriptId: '0', url, lineNumber: 9, columnNumber: 0 },
  }));
  return {
    nodes,
    startTime: 0,
    endTime: 1,
    samples: nodes.map(({ id }) => id),
    timeDeltas: seen.map(([, , micros]) => micros),
  } satisfies Profiler.Profile;
}

test('time is summed by part and by function; waiting and the profiler are left out', () => {
  const { parts, frames } = sharesOf(
    profileOf([
      ['(idle)', '', 9_000],
      ['post', 'node:inspector', 700],
      ['toPacket', 'file:///x/node_modules/mysql2/lib/packets/execute.js', 300],
      ['bucketOf', 'file:///x/src/sharding/hash.ts', 100],
      ['oneShotDigest', '', 200],
      ['validate', 'file:///x/src/http/validate.ts', 250],
      ['', 'file:///x/src/kernel/clock.ts', 50],
      ['(garbage collector)', '', 100],
    ]),
    '/x',
    2,
  );
  expect([...parts]).toEqual([
    ['driver (mysql2)', 0.3],
    ['hashing', 0.3],
    ['validation (zod, src/http)', 0.25],
    ['garbage collection', 0.1],
    ['all else', 0.05],
  ]);
  expect(frames).toEqual([
    { name: 'toPacket node_modules/mysql2/lib/packets/execute.js:10', share: 0.3 },
    { name: 'validate src/http/validate.ts:10', share: 0.25 },
  ]);
});
