/**
 * Runs the test projects one after the other and ends with one line `N passed, N failed`.
 *
 * One after the other, because each project but `unit` starts servers and the timing-sensitive ones
 * should not share two cores. `--long` runs the full forms (hundreds of thousands of orders, tens of
 * kills); `--project NAME` (repeatable) runs a selection.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';

const PROJECTS = ['unit', 'host', 'integration-mysql', 'integration-mariadb', 'e2e', 'chaos'];

const report = z.object({
  numPassedTests: z.number(),
  numFailedTests: z.number(),
  numFailedTestSuites: z.number(),
  numPendingTests: z.number(),
});

interface Tally {
  readonly passed: number;
  readonly failed: number;
}

function run(project: string, outputFile: string, long: boolean): Promise<number> {
  const vitest = path.resolve('node_modules/vitest/vitest.mjs');
  const args = ['run', '--project', project, '--reporter=default', '--reporter=json'];
  const child = spawn(process.execPath, [vitest, ...args, `--outputFile.json=${outputFile}`], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {
      ...process.env,
      NODE_OPTIONS: '--disable-warning=ExperimentalWarning',
      ...(long ? { TEST_LONG: '1' } : {}),
    },
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}

/** A project that crashed, found no test or failed to load a file counts as failed, whatever it printed. */
function tallyOf(outputFile: string, exitCode: number): Tally {
  let parsed: z.infer<typeof report>;
  try {
    parsed = report.parse(JSON.parse(readFileSync(outputFile, 'utf8')));
  } catch {
    return { passed: 0, failed: 1 };
  }
  const failed = parsed.numFailedTests + parsed.numPendingTests;
  return { passed: parsed.numPassedTests, failed: exitCode !== 0 && failed === 0 ? 1 : failed };
}

const { values } = parseArgs({
  options: {
    long: { type: 'boolean', default: false },
    project: { type: 'string', multiple: true },
  },
});
const folder = mkdtempSync(path.join(tmpdir(), 'shardline-test-'));
const rows: { project: string; tally: Tally; seconds: number }[] = [];
for (const project of values.project ?? PROJECTS) {
  const outputFile = path.join(folder, `${project}.json`);
  const started = performance.now();
  console.log(`\n== ${project}`);
  const exitCode = await run(project, outputFile, values.long);
  const seconds = Math.round((performance.now() - started) / 1000);
  rows.push({ project, tally: tallyOf(outputFile, exitCode), seconds });
}
rmSync(folder, { recursive: true, force: true });

console.log('');
for (const { project, tally, seconds } of rows) {
  console.log(
    `${project.padEnd(22)} ${tally.passed} passed, ${tally.failed} failed (${seconds} s)`,
  );
}
const passed = rows.reduce((sum, row) => sum + row.tally.passed, 0);
const failed = rows.reduce((sum, row) => sum + row.tally.failed, 0);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
