import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { z } from 'zod';

/** That the benches work, on servers of their own; what they measure in a moment like this is no test. */
const run = promisify(execFile);

const report = z.object({
  seed: z.literal(7),
  lines: z.array(
    z.object({ what: z.string(), ratio: z.object({ median: z.number().positive() }) }),
  ),
});

test('every bench of the table measures its lines', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'shardline-bench-test-'));
  try {
    const file = path.join(folder, 'figures.json');
    const short = ['--rounds', '1', '--ms', '40', '--size', '0.001'];
    const options = [...short, '--seed', '7', '--json', file];
    const { stdout } = await run(process.execPath, ['bench/main.ts', ...options]);
    const { lines } = report.parse(JSON.parse(await readFile(file, 'utf8')));
    expect(lines.map(({ what }) => what)).toEqual([
      'route a key',
      ...[1, 8, 32, 64].flatMap((callers) =>
        ['an order', 'its statement alone'].flatMap((what) => [
          `${what}, ${callers} at once: throughput`,
          `${what}, ${callers} at once: p95`,
        ]),
      ),
      'orders in groups, 64 at once: throughput',
      'a chunk of 2000 orders',
      'a user’s 100 newest orders: throughput',
      ...['', ', a third old copies'].map(
        (state) => `total revenue of 3 shards, 3000 orders${state}: time`,
      ),
      'total revenue of 3 shards, 3000 orders, a third old copies: time, of all',
      ...[2, 3, 4].map((shards) => `an order over ${shards} of 4 shards, 64 callers: cost`),
      'an order over 4 of 4 shards, 256 callers: cost',
      ...[8, 64, 256].map((callers) => `an order over 1 of 4 shards, ${callers} callers: cost`),
      'heap after 256 callers',
      'an order beside 20000 others, 64 callers: cost',
      'an order beside 20000 others, 64 callers: processor time',
      'an order over HTTP, 32 at once: throughput',
      'an order over HTTP, 32 at once: p95',
      'an order from the queue, 16 at a time',
      'a batch of 2000 orders, HTTP to rows',
      'activities, one fan-out of 50',
      'turns, 5 chains of 10 activities',
      expect.stringMatching(/^memory of the host, /),
      ...['register-user', 'transfer-order'].flatMap((saga) => [
        `${saga}: durable actions`,
        `${saga}: bytes of history`,
      ]),
      ...[1, 8].flatMap((callers) =>
        ['register-user', 'transfer-order'].map(
          (saga) => `${saga} over two shards, ${callers} at once: time`,
        ),
      ),
      'copy of a bucket: speed',
      ...Array.from({ length: 3 }, () => 'verification of it: speed'),
      ...Array.from({ length: 2 }, () => [
        'busiest of 64 shards, Zipf 0.88',
        'orders moved, 64 to 65 shards',
        'orders moved, 64 to 63 shards',
      ]).flat(),
    ]);
    for (const { what } of lines) expect(stdout).toContain(what);
    expect(stdout).toMatch(
      /\d+ of \d+ targets met, \d+ reported; 1 rounds of 40 ms, size 0.001, seed 7/,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('a wrong option is told, and nothing is started', async () => {
  const wrong = run(process.execPath, ['bench/main.ts', 'orders', '--rounds', 'many']);
  await expect(wrong).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--rounds takes'),
  });
});
