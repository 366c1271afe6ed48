/**
 * Runs the test projects and ends with one line `N passed, N failed`.
 *
 * Projects that mostly wait (for servers that start, for statements) run side by side; those that
 * assert liveness under time limits have the machine to themselves. Of a list within a group one follows the
 * other. Output of projects that run side by side is not mixed: it comes project by project. `--long` runs the full forms (hundreds of
 * thousands of orders, tens of kills); `--project NAME` (repeatable) runs a selection.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';

/** Lists that run side by side. The shorter of the two long ones takes what else minds no company. */
type Group = readonly (readonly string[])[];

/** One after the other. */
const GROUPS: readonly Group[] = [
  [['unit'], ['integration-mysql'], ['integration-mariadb', 'bench']],
  [['host']],
  [['e2e']],
  [['chaos']],
];
const PROJECTS = GROUPS.flat(2);

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

interface Row {
  readonly project: string;
  readonly tally: Tally;
  readonly seconds: number;
}

function start(project: string, outputFile: string, long: boolean): ChildProcess {
  const vitest = path.resolve('node_modules/vitest/vitest.mjs');
  const args = ['run', '--project', project, '--reporter=default', '--reporter=json'];
  return spawn(process.execPath, [vitest, ...args, `--outputFile.json=${outputFile}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      NODE_OPTIONS: '--disable-warning=ExperimentalWarning',
      ...(process.stdout.isTTY ? { FORCE_COLOR: '1' } : {}),
      ...(long ? { TEST_LONG: '1' } : {}),
    },
  });
}

/**
 * Passes on what a project prints: at once from when it is its turn, and until then kept (some hundred
 * kilobytes at most). Returns what gives it its turn.
 */
function inTurn(project: string, child: ChildProcess): () => void {
  const kept: (readonly [NodeJS.WriteStream, Buffer])[] = [];
  let hasTurn = false;
  const pass = (target: NodeJS.WriteStream) => (text: Buffer) => {
    if (hasTurn) target.write(text);
    else kept.push([target, text]);
  };
  child.stdout?.on('data', pass(process.stdout));
  child.stderr?.on('data', pass(process.stderr));
  return () => {
    console.log(`\n== ${project}`);
    hasTurn = true;
    for (const [target, text] of kept.splice(0)) target.write(text);
  };
}

/** One that could not be started or was killed counts as 1. */
async function exitCodeOf(child: ChildProcess): Promise<number> {
  try {
    const [code] = await once(child, 'close');
    return Number(code ?? 1);
  } catch (error) {
    console.error(error);
    return 1;
  }
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

interface Run {
  readonly takeTurn: () => void;
  readonly ended: Promise<Row>;
}

function begin(project: string, folder: string, long: boolean): Run {
  const outputFile = path.join(folder, `${project}.json`);
  const started = performance.now();
  const child = start(project, outputFile, long);
  const takeTurn = inTurn(project, child);
  const ended = exitCodeOf(child).then((exitCode): Row => {
    const seconds = Math.round((performance.now() - started) / 1000);
    return { project, tally: tallyOf(outputFile, exitCode), seconds };
  });
  return { takeTurn, ended };
}

async function runGroup(group: Group, folder: string, long: boolean): Promise<Row[]> {
  const runs = group.flatMap((list) => {
    let before: Promise<unknown> = Promise.resolve();
    return list.map((project) => {
      const run = before.then(() => begin(project, folder, long));
      before = run.then(({ ended }) => ended);
      return run;
    });
  });
  const rows: Row[] = [];
  for (const run of runs) {
    const { takeTurn, ended } = await run;
    takeTurn();
    rows.push(await ended);
  }
  return rows;
}

const { values } = parseArgs({
  options: {
    long: { type: 'boolean', default: false },
    project: { type: 'string', multiple: true },
  },
});
const chosen = values.project ?? PROJECTS;
const unknown = chosen.filter((project) => !PROJECTS.includes(project));
if (unknown.length > 0) {
  throw new Error(`No such project: ${unknown.join(', ')}. There are ${PROJECTS.join(', ')}.`);
}
const folder = mkdtempSync(path.join(tmpdir(), 'shardline-test-'));
const rows: Row[] = [];
const began = performance.now();
for (const group of GROUPS) {
  const lists = group.map((list) => list.filter((project) => chosen.includes(project)));
  rows.push(...(await runGroup(lists, folder, values.long)));
}
rmSync(folder, { recursive: true, force: true });

console.log('');
for (const { project, tally, seconds } of rows) {
  console.log(
    `${project.padEnd(22)} ${tally.passed} passed, ${tally.failed} failed (${seconds} s)`,
  );
}
console.log(`${Math.round((performance.now() - began) / 1000)} s together`);
const passed = rows.reduce((sum, row) => sum + row.tally.passed, 0);
const failed = rows.reduce((sum, row) => sum + row.tally.failed, 0);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
