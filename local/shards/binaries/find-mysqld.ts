import { accessSync, constants, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { LocalShardsError, messageOf } from '../errors.ts';
import type { OnProgress } from '../progress.ts';
import { cachedServer, fetchServer } from './debian-archive.ts';
import { readServerVersion, type ServerBinary } from './server-binary.ts';
import { type Engine, engineName, unsupportedReason } from './versions.ts';

/** `auto` takes MySQL where it can be had, else MariaDB. */
export type EngineChoice = Engine | 'auto';

export interface FindOptions {
  readonly engine: EngineChoice;
  /** Path of a server program; wins over everything else. */
  readonly mysqld?: string | undefined;
  readonly cacheDir: string;
  readonly onProgress: OnProgress;
}

/** Folders of servers that a user's PATH often leaves out. */
const SYSTEM_DIRS = ['/usr/sbin', '/usr/local/sbin', '/usr/libexec', '/usr/local/mysql/bin'];

/** `SHARDLINE_CACHE`, or the user's cache folder. */
export function defaultCacheDir(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return resolve(environment['SHARDLINE_CACHE'] || join(base, 'shardline'));
}

/**
 * Finds a server: the given path, the PATH, the cache, Debian's archive, in this order.
 * Throws {@link LocalShardsError} with the reasons and the choices when none can be had.
 */
export async function findServer(options: FindOptions): Promise<ServerBinary> {
  const explicit = options.mysqld ?? process.env['SHARDLINE_MYSQLD'];
  if (explicit) return explicitServer(explicit, options.engine);
  const engines: readonly Engine[] =
    options.engine === 'auto' ? ['mysql', 'mariadb'] : [options.engine];
  const reasons: string[] = [];
  for (const engine of engines) {
    const found = await serverOnPath(engine, reasons);
    if (found !== undefined) return found;
  }
  for (const engine of engines) {
    const found = await cachedOrFetched(engine, options, reasons);
    if (found !== undefined) return found;
  }
  throw noServerError(reasons);
}

async function cachedOrFetched(
  engine: Engine,
  options: FindOptions,
  reasons: string[],
): Promise<ServerBinary | undefined> {
  const cached = cachedServer(engine, options.cacheDir);
  if (cached !== undefined) return cached;
  try {
    const { cacheDir, onProgress } = options;
    return await fetchServer({ engine, cacheDir, onProgress });
  } catch (error) {
    if (!(error instanceof LocalShardsError)) throw error;
    const reason = `${engineName(engine)} could not be fetched: ${error.message}`;
    reasons.push(reason);
    options.onProgress({ kind: 'step', message: reason });
    return undefined;
  }
}

async function explicitServer(program: string, engine: EngineChoice): Promise<ServerBinary> {
  const binary = await describeProgram(program);
  const reason = unsupportedReason(binary);
  if (reason !== undefined) throw new LocalShardsError(`${program}: ${reason}.`);
  if (engine !== 'auto' && engine !== binary.engine) {
    throw new LocalShardsError(
      `${program} is ${engineName(binary.engine)}, but ${engineName(engine)} was asked for.`,
    );
  }
  return binary;
}

async function serverOnPath(engine: Engine, reasons: string[]): Promise<ServerBinary | undefined> {
  const dirs = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_DIRS];
  const names = engine === 'mysql' ? ['mysqld'] : ['mariadbd', 'mysqld'];
  for (const program of new Set(dirs.flatMap((dir) => names.map((name) => join(dir, name))))) {
    if (!isExecutable(program)) continue;
    try {
      const binary = await describeProgram(program);
      if (binary.engine !== engine) continue;
      const reason = unsupportedReason(binary);
      if (reason === undefined) return binary;
      reasons.push(`${program}: ${reason}`);
    } catch (error) {
      reasons.push(messageOf(error));
    }
  }
  return undefined;
}

async function describeProgram(program: string): Promise<ServerBinary> {
  const { engine, version } = await readServerVersion([program]);
  const share = join(dirname(dirname(realpathSync(program))), 'share');
  return {
    engine,
    version,
    program,
    command: [program],
    locationArgs: [],
    shareDirs: [share, '/usr/share'].flatMap((dir) => [join(dir, 'mysql'), join(dir, 'mariadb')]),
    environment: {},
  };
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function noServerError(reasons: readonly string[]): LocalShardsError {
  return new LocalShardsError(
    [
      'No MySQL or MariaDB server can be had on this machine:',
      ...reasons.map((reason) => `  - ${reason}`),
      'Choose one of:',
      '  - install one (Debian, Ubuntu: mysql-server-core or mariadb-server-core; macOS: mysql)',
      '  - name one with --mysqld PATH or SHARDLINE_MYSQLD',
      '  - use containers: docker compose up -d (compose.yaml says how to point SHARDS to them)',
    ].join('\n'),
  );
}
