import { expect, test } from 'vitest';
import { describeShares, type ProfileNode, sharesOf } from '../../../bench/profile-parts.ts';

interface Seen {
  readonly name?: string;
  readonly url?: string;
  /** Itself, microseconds. */
  readonly micros?: number;
  readonly calls?: readonly Seen[];
}

/** A profile in which each of these functions was seen once. */
function profileOf(seen: readonly Seen[]) {
  const nodes: ProfileNode[] = [];
  const timeDeltas: number[] = [];
  const addNode = ({ name = '', url = '', micros = 0, calls = [] }: Seen): number => {
    const id = nodes.length + 1;
    const children: number[] = [];
    nodes.push({ id, callFrame: { functionName: name, url, lineNumber: 9 }, children });
    timeDeltas.push(micros);
    for (const called of calls) children.push(addNode(called));
    return id;
  };
  addNode({ name: '(root)', calls: seen });
  return { nodes, samples: nodes.map(({ id }) => id), timeDeltas };
}

const OPTIONS = { root: '/x', frames: 2 };

test('time is summed by part and by function; waiting and the profiler are left out', () => {
  const shares = sharesOf(
    profileOf([
      { name: '(idle)', micros: 3_000 },
      { name: 'post', url: 'node:inspector', micros: 700 },
      { name: 'toPacket', url: 'file:///x/node_modules/mysql2/lib/execute.js', micros: 300 },
      { name: 'bucketOf', url: 'file:///x/src/sharding/hash.ts', micros: 250 },
      { name: 'parse', url: 'file:///x/node_modules/zod/v4/core/parse.js', micros: 200 },
      { name: 'place', url: 'file:///x/dist/src/orders/place-order.js', micros: 100 },
      { name: '', url: 'file:///x/src/kernel/clock.ts', micros: 50 },
      { name: '(garbage collector)', micros: 100 },
    ]),
    OPTIONS,
  );
  expect([...shares.parts]).toEqual([
    ['driver (mysql2)', 0.3],
    ['hashing and routing (src/sharding)', 0.25],
    ['validation (zod)', 0.2],
    ['orders', 0.1],
    ['garbage collection', 0.1],
    ['all else', 0.05],
  ]);
  expect(shares.frames).toEqual([
    { name: 'toPacket node_modules/mysql2/lib/execute.js:10', share: 0.3 },
    { name: 'bucketOf src/sharding/hash.ts:10', share: 0.25 },
  ]);
  expect(shares).toMatchObject({ workMicros: 1_000, idleMicros: 3_000 });
});

test('what is nobody’s counts for its nearest caller that is somebody’s', () => {
  const write: Seen = {
    url: 'node:net',
    micros: 1,
    calls: [{ name: 'writeBuffer', micros: 100 }],
  };
  const digest: Seen = { url: 'node:internal/crypto/hash', micros: 20 };
  const { parts } = sharesOf(
    profileOf([
      {
        url: 'file:///x/src/orders/place-order.ts',
        calls: [
          { url: 'file:///x/src/sharding/hash.ts', calls: [digest] },
          { url: 'file:///x/node_modules/mysql2/lib/base/connection.js', calls: [write] },
          { url: 'file:///x/src/kernel/time.ts', micros: 30 },
        ],
      },
      // Begun by the loop: they are of nobody.
      write,
      {
        url: 'node:internal/process/task_queues',
        calls: [{ name: 'runMicrotasks', micros: 50 }, digest],
      },
    ]),
    OPTIONS,
  );
  const micros = Object.fromEntries(
    [...parts].map(([name, share]) => [name, Math.round(share * 322)]),
  );
  expect(micros).toEqual({
    'driver (mysql2)': 101,
    'sockets and streams (Node)': 101,
    'promises and timers (Node)': 50,
    orders: 30,
    'hashing and routing (src/sharding)': 20,
    'the rest of Node': 20,
    'validation (zod)': 0,
  });
});

test('a library is known by its own folder, wherever it lies', () => {
  const { parts } = sharesOf(
    profileOf([
      { url: 'file:///x/node_modules/a/node_modules/mysql2/src/http/x.js', micros: 60 },
      { url: 'file:///elsewhere/node_modules/@azure/storage-blob/src/x.js', micros: 40 },
    ]),
    OPTIONS,
  );
  expect(parts.get('driver (mysql2)')).toBe(0.6);
  expect(parts.get('storage account (its library)')).toBe(0.4);
});

test('driver, hashing and validation are told also when they took nothing; an empty profile has no shares', () => {
  const shares = sharesOf({ nodes: [] }, OPTIONS);
  expect([...shares.parts.values()]).toEqual([0, 0, 0]);
  expect(shares.frames).toEqual([]);
});

test('shares are printed with the time of each order', () => {
  const shares = sharesOf(
    profileOf([
      { name: 'toPacket', url: 'file:///x/node_modules/mysql2/lib/execute.js', micros: 3_000 },
      { name: '(garbage collector)', micros: 1_000 },
      { name: '(idle)', micros: 4_000 },
    ]),
    OPTIONS,
  );
  expect(describeShares(shares, 10)).toEqual([
    'at work 50 % of the time, 400.0 µs per order; whose:',
    '   75.0 %   300.0 µs  driver (mysql2)',
    '   25.0 %   100.0 µs  garbage collection',
    '    0.0 %     0.0 µs  hashing and routing (src/sharding)',
    '    0.0 %     0.0 µs  validation (zod)',
    'most by themselves, without what they call:',
    '   75.0 %   300.0 µs  toPacket node_modules/mysql2/lib/execute.js:10',
    '   25.0 %   100.0 µs  (garbage collector)',
  ]);
});
