import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll } from 'vitest';
import { startChild, type Child } from './child.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const APPS = join(ROOT, 'test', 'host', 'apps');

export interface SpawnHostOptions {
  /** A folder below `test/host/apps`, or an absolute path. */
  readonly app: string;
  /** Default: a new temporary folder. */
  readonly dataDir?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface SpawnedHost extends Child {
  /** `http://127.0.0.1:<port>`; empty until the host is ready. */
  readonly origin: string;
  readonly dataDir: string;
  /** Fetches a path of the host. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
}

/** A new folder for the state of a host, or for an app made by a test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'shardline-host-'));
  removeAfterTests(folder);
  return folder;
}

/** Removes a folder at the end of the test file; hosts that used it are gone by then. */
export function removeAfterTests(folder: string): void {
  folders.add(folder);
}

const folders = new Set<string>();

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Starts the host's command line without waiting; for tests of hosts that refuse to start. */
export function spawnCli(options: SpawnHostOptions): Child & { readonly dataDir: string } {
  const dataDir = options.dataDir ?? temporaryFolder();
  const args = [
    '--disable-warning=ExperimentalWarning',
    join(ROOT, 'local', 'host', 'cli.ts'),
    '--app',
    resolve(APPS, options.app),
    '--data',
    dataDir,
    '--port',
    '0',
    ...(options.args ?? []),
  ];
  const child = startChild(process.execPath, args, { ...process.env, ...options.env });
  return { ...child, dataDir };
}

/** Starts a host for an app in its own process, on a free port, and waits for its readiness line. */
export async function spawnHost(options: SpawnHostOptions): Promise<SpawnedHost> {
  const child = spawnCli(options);
  const match = await child.waitFor(/^Host ready on (http:\/\/\S+)$/m);
  const origin = match[1] ?? '';
  return { ...child, origin, fetch: (path, init) => fetch(`${origin}${path}`, init) };
}
