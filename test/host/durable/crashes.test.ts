import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Invoker } from '../../../local/host/contracts.ts';
import type { DurableProbePoint } from '../../../local/host/durable/probe.ts';
import { EVERYTHING_RESULT } from './support/crash-app.ts';
import { loadInProcessApp } from './support/in-process-app.ts';
import { startTestHost, until, type Status } from './support/test-host.ts';

const POINTS: readonly DurableProbePoint[] = [
  'commit.before',
  'commit.after',
  'turn.ran',
  'activity.ran',
  'entity.ran',
];
const INSTANCES = 4;
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

/** Runs the child until it dies or ends; resolves with the signal that ended it. */
async function runChild(dataDir: string, point: string, visits: number): Promise<string | null> {
  const script = join(import.meta.dirname, 'support/crash-child.ts');
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', script, dataDir, point, `${visits}`, `${INSTANCES}`],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (code !== null && code !== 0) reject(new Error(`the child failed with ${code}`));
      else resolve(signal);
    });
  });
}

function tempDir(): string {
  return mkdtempSync(join(tmpdir(), 'durable-crash-'));
}

describe('kill -9', () => {
  it.each(POINTS)(`at %s: every orchestration ends as if nothing had happened`, async (point) => {
    const dataDir = tempDir();
    let visits = 3 + (seed % 7);
    let kills = 0;
    while ((await runChild(dataDir, point, visits)) === 'SIGKILL') {
      kills += 1;
      visits = Math.ceil(visits * 1.7) + 4;
    }
    expect(kills).toBeGreaterThan(1);
    const host = await startTestHost({ dataDir });
    for (let i = 0; i < INSTANCES; i += 1) {
      const status = await host.status(`job-${i}`);
      expect(status, `SEED=${seed}`).toMatchObject({
        runtimeStatus: 'Completed',
        output: EVERYTHING_RESULT,
      });
    }
    expect((await host.call('GET', '/entities/tally/shared')).body).toBe(3 * INSTANCES);
    await host.dispose();
  });
});

describe('restart', () => {
  it('takes up 1000 pending timers', async () => {
    const first = await startTestHost();
    const dueMs = Date.now() + 1500;
    const ids = await Promise.all(
      Array.from({ length: 1000 }, (_, i) => first.start('sleeper', dueMs + (i % 100))),
    );
    await until(async () => {
      const { body } = await first.call('GET', '/instances/?runtimeStatus=Pending');
      return (body as Status[]).length === 0;
    });
    await first.stop(0);
    const second = await startTestHost({ dataDir: first.dataDir });
    for (const id of ids) expect((await second.finished(id, 30_000)).output).toBe(2);
    await second.dispose();
  });

  it('runs an activity again whose result was not recorded, and ignores late results', async () => {
    const { invoker } = loadInProcessApp();
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    let runs = 0;
    const holding: Invoker = {
      async invoke(request) {
        if (request.fn.name !== 'add') return invoker.invoke(request);
        runs += 1;
        if (runs === 1) await held;
        return invoker.invoke(request);
      },
    };
    const first = await startTestHost({ invoker: holding });
    const id = await first.start('sleeper', 0);
    await until(() => runs === 1);
    await first.stop(0);
    const second = await startTestHost({ dataDir: first.dataDir, invoker: holding });
    expect((await second.finished(id)).output).toBe(2);
    release();
    expect(runs).toBe(2);
    await second.dispose();
  });

  it('refuses a folder that another host uses', async () => {
    const first = await startTestHost();
    await expect(startTestHost({ dataDir: first.dataDir })).rejects.toThrow(/another host/u);
    await first.dispose();
    rmSync(first.dataDir, { recursive: true, force: true });
  });

  it('fails an orchestration whose code no longer matches its history', async () => {
    const { df } = loadInProcessApp();
    let version = 1;
    df.app.orchestration('changes', function* (context) {
      const name = version === 1 ? 'add' : 'sometimes';
      yield context.df.callActivity(name, { a: 1, b: 1 });
      return yield context.df.waitForExternalEvent('go');
    });
    const host = await startTestHost();
    const id = await host.start('changes');
    await until(async () => {
      const { body } = await host.call('GET', `/instances/${id}/stats`);
      return (body as { historyEvents: number }).historyEvents >= 7;
    });
    version = 2;
    await host.call('POST', `/instances/${id}/raiseEvent/go`, 1);
    const status = await host.finished(id);
    expect(status.runtimeStatus).toBe('Failed');
    expect(status.output).toContain('Non-Deterministic workflow detected');
    await host.dispose();
  });
});
