import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import {
  identityOf,
  isAlive,
  processIdentitySchema,
} from '../../local/shards/servers/process-identity.ts';
import { exclusively } from '../../local/shards/exclusive.ts';
import { createProgressPrinter } from '../../local/shards/progress.ts';
import { openStack, startStack } from '../../local/shards/stack.ts';
import type {} from './cluster.ts';

const PREFIX = 'shardline-cluster-';
const OWNER_FILE = 'owner.json';
/** Held while abandoned servers are ended: two projects that start together must not both do it. */
const REMOVAL_LOCK = join(tmpdir(), 'shardline-clusters.lock');
const REMOVAL_TIMEOUT_MS = 120_000;

/**
 * Starts three shards of the project's engine and storage, once per project and test run. Everything
 * lies in a fresh folder and is deleted afterwards. `SHARDLINE_TEST_STACK` names a folder to use (and
 * keep running) instead, which saves the start when the same tests are run again and again; each
 * engine has its own subfolder. Returns the teardown.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const engine = project.config.env['TEST_ENGINE'];
  if (engine !== 'mysql' && engine !== 'mariadb') {
    throw new Error(`Project ${project.name} sets TEST_ENGINE to neither mysql nor mariadb.`);
  }
  await exclusively({ lockFile: REMOVAL_LOCK, timeoutMs: REMOVAL_TIMEOUT_MS }, removeAbandoned);
  const { dataDir, owned } = chooseFolder(engine);
  const onProgress = createProgressPrinter({
    write: (text) => process.stdout.write(`[${project.name}] ${text}`),
  });
  const stack = await startStack({ dataDir, shards: 3, engine, fast: true, onProgress });
  project.provide('cluster', { dataDir, engine });
  return async () => {
    if (!owned) return;
    await stack.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
}

function chooseFolder(engine: string): { readonly dataDir: string; readonly owned: boolean } {
  const shared = process.env['SHARDLINE_TEST_STACK'];
  if (shared) return { dataDir: join(shared, engine), owned: false };
  const dataDir = mkdtempSync(join(tmpdir(), PREFIX));
  writeFileSync(join(dataDir, OWNER_FILE), JSON.stringify(identityOf(process.pid)));
  return { dataDir, owned: true };
}

/** A test run that was killed leaves its servers behind; the next one ends them. */
async function removeAbandoned(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(PREFIX))) {
    const folder = join(tmpdir(), name);
    if (hasLivingOwner(folder)) continue;
    await openStack(folder)?.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

/** True also for a folder that was only just made and does not name its owner yet. */
function hasLivingOwner(folder: string): boolean {
  try {
    const text = readFileSync(join(folder, OWNER_FILE), 'utf8');
    return isAlive(processIdentitySchema.parse(JSON.parse(text)));
  } catch {
    return true;
  }
}
