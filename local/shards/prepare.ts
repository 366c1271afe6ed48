import { existsSync } from 'node:fs';
import { defaultCacheDir, type EngineChoice, findServer } from './binaries/find-mysqld.ts';
import type { ServerBinary } from './binaries/server-binary.ts';
import { compareVersions, type Engine, engineName } from './binaries/versions.ts';
import { LocalShardsError } from './errors.ts';
import type { OnProgress } from './progress.ts';
import { pickPort } from './servers/ports.ts';
import type { StackState } from './state.ts';

export interface PrepareOptions {
  readonly dataDir: string;
  readonly engine?: EngineChoice;
  readonly fast?: boolean;
  readonly mysqld?: string;
  readonly cacheDir?: string;
  readonly onProgress?: OnProgress;
}

/**
 * The state to start from: that of the folder, or a new one without shards. A folder with data keeps
 * its server program while that exists; it may move to a newer version, never to an older one or to
 * the other engine. Throws {@link LocalShardsError} when the options ask for that.
 */
export async function prepareState(
  before: StackState | undefined,
  options: PrepareOptions,
): Promise<StackState> {
  const onProgress = options.onProgress ?? (() => undefined);
  const choice = options.engine ?? 'auto';
  if (before === undefined) {
    const binary = await find(choice, options);
    onProgress({ kind: 'step', message: `Using ${describe(binary)}` });
    return newState(binary, options.fast ?? false);
  }
  const { engine, version } = before.binary;
  if (choice !== 'auto' && choice !== engine) throw otherEngineError(options.dataDir, engine);
  if (options.fast !== undefined && options.fast !== before.fast) {
    const message = `${options.fast ? 'Fast' : 'Durable'} mode takes effect on servers that start from now on.`;
    onProgress({ kind: 'step', message });
    before.fast = options.fast;
  }
  if (options.mysqld !== undefined || !existsSync(before.binary.program)) {
    const binary = await find(engine, options);
    if (compareVersions(binary.version, version) < 0) {
      throw new LocalShardsError(
        `The data in ${options.dataDir} was written by ${engineName(engine)} ${version}; ${describe(binary)} is older and cannot read it. Use --reset to delete the data, or another folder with --data.`,
      );
    }
    before.binary = binary;
  }
  return before;
}

function find(engine: EngineChoice, options: PrepareOptions): Promise<ServerBinary> {
  return findServer({
    engine,
    mysqld: options.mysqld,
    cacheDir: options.cacheDir ?? defaultCacheDir(),
    onProgress: options.onProgress ?? (() => undefined),
  });
}

async function newState(binary: ServerBinary, fast: boolean): Promise<StackState> {
  const taken = new Set<number>();
  const next = async (): Promise<number> => {
    const port = await pickPort(taken);
    taken.add(port);
    return port;
  };
  const ports = { blob: await next(), queue: await next(), table: await next() };
  return { format: 1, binary, fast, shards: [], storage: { ports } };
}

function otherEngineError(dataDir: string, engine: Engine): LocalShardsError {
  return new LocalShardsError(
    `The data in ${dataDir} belongs to ${engineName(engine)}. Use --reset to delete it, or another folder with --data.`,
  );
}

function describe(binary: ServerBinary): string {
  return `${engineName(binary.engine)} ${binary.version} (${binary.program})`;
}
