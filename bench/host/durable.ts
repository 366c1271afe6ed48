import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { HostProcess } from '../../local/host-process.ts';
import { inRounds } from '../drive.ts';
import { figureOf } from '../figures.ts';
import { type Line, lineOf } from '../lines.ts';
import { type BenchOptions, scaled } from '../options.ts';
import { quietLogger } from '../world.ts';
import { chain, fan } from './durable-contracts.ts';
import { doNothing } from './durable-implementations.ts';
import type { HostWorld } from './world.ts';

const FAN = 3_000;
const CHAINS = 200;
const CHAIN_LENGTH = 10;
const DIRECT_CALLS = 100_000;
const POLL_MS = 10;
const STUCK_AFTER_MS = 120_000;

/**
 * Activities that do nothing and turns of orchestrators, per second on the local host, beside direct calls of the same
 * activity through the same contract. No shards are used.
 */
export async function benchDurable(
  world: HostWorld,
  options: BenchOptions,
): Promise<readonly Line[]> {
  const app = await mkdtemp(join(tmpdir(), 'shardline-bench-app-'));
  world.cleanUp(() => rm(app, { recursive: true, force: true }));
  await writeApp(app);
  const host = await world.startHost({ app });
  const width = scaled(options, FAN, 50);
  const chains = scaled(options, CHAINS, 5);
  let started = 0;
  const run = async (name: string, inputs: readonly unknown[]): Promise<number> => {
    const startedAtMs = performance.now();
    const ids = inputs.map(() => `bench-${++started}`);
    await Promise.all(inputs.map((input, n) => start(host, name, ids[n] as string, input)));
    for (const id of ids) await ended(host, id);
    return performance.now() - startedAtMs;
  };
  const chainsOf = Array.from({ length: chains }, () => ({ length: CHAIN_LENGTH }));
  try {
    const rates = await inRounds(options, {
      fan: async () => (width * 1_000) / (await run(fan.name, [{ width }])),
      // The last answer of an activity needs a turn too.
      turns: async () => (chains * (CHAIN_LENGTH + 1) * 1_000) / (await run(chain.name, chainsOf)),
      direct: () => directPerSecond(scaled(options, DIRECT_CALLS, 1_000)),
    });
    const lineFor = (what: string, of: readonly number[]): Line => ({
      ...lineOf({
        what,
        limit: 'direct calls of the activity',
        ratios: of.map((rate, round) => rate / (rates.direct[round] ?? Number.NaN)),
        note: `${figureOf(of).median.toFixed(0)} per s; direct ${figureOf(rates.direct).median.toFixed(0)}`,
      }),
    });
    return [
      lineFor(`activities, one fan-out of ${width}`, rates.fan),
      lineFor(`turns, ${chains} chains of ${CHAIN_LENGTH} activities`, rates.turns),
    ];
  } finally {
    await host.stop();
  }
}

async function directPerSecond(calls: number): Promise<number> {
  const direct = doNothing.bind(undefined);
  const run = { instanceId: 'bench', logger: quietLogger() };
  const startedAtMs = performance.now();
  for (let n = 0; n < calls; n++) await direct({ n }, run);
  return (calls * 1_000) / (performance.now() - startedAtMs);
}

/** The settings of host.json are the product's own. */
async function writeApp(folder: string): Promise<void> {
  const repository = join(import.meta.dirname, '..', '..');
  const entry = pathToFileURL(join(import.meta.dirname, 'durable-app-child.ts')).href;
  const about = { name: 'shardline-bench', private: true, type: 'module', main: 'main.js' };
  await writeFile(join(folder, 'host.json'), readFileSync(join(repository, 'host.json')));
  await writeFile(join(folder, 'package.json'), JSON.stringify(about));
  await writeFile(join(folder, 'main.js'), `import ${JSON.stringify(entry)};\n`);
}

const DURABLE_API = '/runtime/webhooks/durabletask';

async function start(host: HostProcess, name: string, id: string, input: unknown): Promise<void> {
  const answer = await fetch(`${host.origin}${DURABLE_API}/orchestrators/${name}/${id}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(input),
  });
  await answer.arrayBuffer();
  if (answer.status !== 202) throw new Error(`${name} was not started: ${answer.status}`);
}

async function ended(host: HostProcess, id: string): Promise<void> {
  for (const startedAtMs = performance.now(); ;) {
    const answer = await fetch(`${host.origin}${DURABLE_API}/instances/${id}?showInput=false`);
    const { runtimeStatus } = z.object({ runtimeStatus: z.string() }).parse(await answer.json());
    if (runtimeStatus === 'Completed') return;
    if (!['Pending', 'Running'].includes(runtimeStatus)) throw new Error(`${id} ${runtimeStatus}`);
    if (performance.now() - startedAtMs > STUCK_AFTER_MS) throw new Error(`${id} does not end`);
    await sleep(POLL_MS);
  }
}
