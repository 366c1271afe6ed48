import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { arch } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { messageOf } from '../errors.ts';
import type { OnProgress } from '../progress.ts';
import { fetchOnce, findRuntime, unpackFromArchive } from './debian-archive.ts';
import { compareVersions, type Engine, engineName } from './versions.ts';

const run = promisify(execFile);
const VERSION_TIMEOUT_MS = 20_000;

/** The vendor's dump and client programs. Commands begin with a loader when they were fetched. */
export interface ClientTools {
  readonly version: string;
  readonly dump: readonly string[];
  readonly client: readonly string[];
  /** Set in addition to the caller's environment. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface FindClientOptions {
  readonly engine: Engine;
  /** Tools must be of the same engine and not older: an older dump does not know newer servers. */
  readonly serverVersion: string;
  readonly cacheDir: string;
  readonly onProgress: OnProgress;
}

/** One package brings both programs, with the servers' sources. MySQL is in Debian's archive only in sid. */
const FETCHED: Readonly<
  Record<Engine, { package: string; suite?: string; dump: string; client: string }>
> = {
  mysql: { package: 'mysql-client-core', suite: 'sid', dump: 'mysqldump', client: 'mysql' },
  mariadb: { package: 'mariadb-client', dump: 'mariadb-dump', client: 'mariadb' },
};

/**
 * Finds the tools: on the PATH, in the cache, in Debian's archive, in this order; nothing is installed. Throws
 * `LocalShardsError` when the machine has no apt or the archive no such package.
 */
export async function findClientTools(options: FindClientOptions): Promise<ClientTools> {
  const { engine, onProgress } = options;
  const found = await toolsOnPath(options);
  if (found !== undefined) return found;
  const root = join(options.cacheDir, `${engine}-client-${arch()}`);
  const present = (): string | undefined => (existsSync(root) ? root : undefined);
  const { package: name } = FETCHED[engine];
  await fetchOnce(options, {
    what: 'client',
    present,
    fetchInto: async (workDir) => {
      const message = `Fetching ${name} (${engineName(engine)}'s own tools) from Debian's archive into the cache (once) …`;
      onProgress({ kind: 'step', message });
      await rename(await unpackFromArchive(workDir, FETCHED[engine], options), root);
    },
  });
  return fetchedTools(engine, root);
}

async function fetchedTools(engine: Engine, root: string): Promise<ClientTools> {
  const { loader, libraryDirs } = findRuntime(root);
  const libraries = libraryDirs.map((dir) => join(root, dir)).join(':');
  const command = (program: string): readonly string[] => [
    join(root, loader),
    '--library-path',
    libraries,
    join(root, 'usr/bin', program),
  ];
  const dump = command(FETCHED[engine].dump);
  // The machine's OpenSSL configuration names modules built for another OpenSSL.
  const environment = { OPENSSL_CONF: '/dev/null' };
  const { version } = await readClientVersion(dump, environment);
  return { version, dump, client: command(FETCHED[engine].client), environment };
}

async function toolsOnPath(options: FindClientOptions): Promise<ClientTools | undefined> {
  const { engine, serverVersion, onProgress } = options;
  const names = FETCHED[engine];
  for (const dir of (process.env['PATH'] ?? '').split(delimiter)) {
    const dump = join(dir, names.dump);
    const client = join(dir, names.client);
    if (!existsSync(dump) || !existsSync(client)) continue;
    try {
      const found = await readClientVersion([dump], {});
      if (found.engine === engine && compareVersions(found.version, serverVersion) >= 0) {
        return { version: found.version, dump: [dump], client: [client], environment: {} };
      }
      const message = `${dump} is ${engineName(found.engine)} ${found.version}: not used for ${engineName(engine)} ${serverVersion}.`;
      onProgress({ kind: 'step', message });
    } catch (error) {
      onProgress({ kind: 'step', message: `${dump} is not used: ${messageOf(error)}` });
    }
  }
  return undefined;
}

async function readClientVersion(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<{ readonly engine: Engine; readonly version: string }> {
  const [file = '', ...args] = command;
  const { stdout } = await run(file, [...args, '--no-defaults', '--version'], {
    timeout: VERSION_TIMEOUT_MS,
    env: { ...process.env, ...environment },
  });
  return parseClientVersion(stdout);
}

/**
 * Reads the output of `mysqldump --version`. MariaDB's names a version of the protocol too, before or behind its own,
 * according to its age. `0.0.0`, older than every server, when there is none. Pure.
 */
export function parseClientVersion(output: string): {
  readonly engine: Engine;
  readonly version: string;
} {
  const mariadb = /(\d+\.\d+\.\d+)-MariaDB/i.exec(output)?.[1];
  if (mariadb !== undefined) return { engine: 'mariadb', version: mariadb };
  return { engine: 'mysql', version: /\bVer\s+(\d+\.\d+\.\d+)/.exec(output)?.[1] ?? '0.0.0' };
}
