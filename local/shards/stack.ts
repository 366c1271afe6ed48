import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { EngineChoice } from './binaries/find-mysqld.ts';
import type { Engine } from './binaries/versions.ts';
import { LocalShardsError } from './errors.ts';
import { exclusively } from './exclusive.ts';
import type { OnProgress } from './progress.ts';
import {
  endProcess,
  freezeProcess,
  isAlive,
  killProcess,
  type ProcessIdentity,
  signalProcess,
} from './servers/process-identity.ts';
import { storageConnectionString } from './servers/azurite.ts';
import { type ShardConnection, shardConnection } from './settings.ts';
import { prepareState } from './prepare.ts';
import { Launcher, SERVER_GRACE_MS, STORAGE_GRACE_MS } from './launcher.ts';
import { endAbandoned } from './abandoned.ts';
import { readState, type ShardState, stackPaths, type StackState } from './state.ts';

export interface StackOptions {
  /** Holds everything of the stack; made when missing. */
  readonly dataDir: string;
  /** How many shards there should be at least. Default 3. Existing ones are never removed. */
  readonly shards?: number;
  /** Default `auto`. A folder that holds data stays with the engine that made it. */
  readonly engine?: EngineChoice;
  /** For tests: faster commits and small buffers; safe against `kill -9`, not against power cuts. */
  readonly fast?: boolean;
  /** Path of the server program to use. */
  readonly mysqld?: string;
  /** Where fetched servers are kept. Default: `SHARDLINE_CACHE` or the user's cache folder. */
  readonly cacheDir?: string;
  /** Delete the data of an earlier stack first. */
  readonly reset?: boolean;
  readonly onProgress?: OnProgress;
}

/** How a server is ended: after a clean shutdown, or at once as by a power cut. */
export type StopMode = 'clean' | 'kill';

/** The holder may be fetching a server over a slow line. */
const LOCK_TIMEOUT_MS = 20 * 60_000;

/**
 * A running set of shards and storage. All knowledge is in the data folder, so that any number of
 * processes can hold a `Stack` of the same folder; each operation sees what the others did. Ports
 * stay the same across restarts unless somebody else took one.
 */
export class Stack {
  readonly dataDir: string;
  readonly #onProgress: OnProgress;
  #state: StackState;

  constructor(dataDir: string, state: StackState, onProgress: OnProgress) {
    this.dataDir = dataDir;
    this.#state = state;
    this.#onProgress = onProgress;
  }

  get engine(): Engine {
    return this.#state.binary.engine;
  }

  /** Version of the server program, e.g. `9.7.4`. */
  get version(): string {
    return this.#state.binary.version;
  }

  get shards(): ShardConnection[] {
    return this.#state.shards.map(shardConnection);
  }

  /** Passwords of the set-up account `root`, by position. */
  get adminPasswords(): string[] {
    return this.#state.shards.map((shard) => shard.adminPassword);
  }

  get storageConnectionString(): string {
    return storageConnectionString(this.#state.storage.ports);
  }

  /** Process ids by shard, `undefined` for one that does not run. For tests and messages. */
  get shardPids(): (number | undefined)[] {
    return this.#state.shards.map(({ process }) => (isAlive(process) ? process?.pid : undefined));
  }

  /** Process id of the storage emulator, `undefined` when it does not run. */
  get storagePid(): number | undefined {
    const { process } = this.#state.storage;
    return isAlive(process) ? process?.pid : undefined;
  }

  /** Starts everything that does not run. Returns how many servers it started. */
  start(): Promise<number> {
    return this.#exclusively((launcher) => launcher.startAll());
  }

  /** Starts one shard; thaws it when it is frozen. Nothing happens when it runs. */
  startShard(index: number): Promise<void> {
    return this.#exclusively(async (launcher) => {
      await launcher.startShard(this.#shard(index));
    });
  }

  /** Stops one shard. Nothing happens when it does not run. */
  stopShard(index: number, mode: StopMode = 'clean'): Promise<void> {
    return this.#exclusively(async (launcher) => {
      const running = launcher.findShard(this.#shard(index));
      if (running === undefined) return;
      await (mode === 'kill' ? killProcess(running) : endProcess(running, SERVER_GRACE_MS));
    });
  }

  /** Freezes one shard (`SIGSTOP`) and waits until it stands still: connections stay open and nobody answers. */
  freezeShard(index: number): Promise<void> {
    return this.#signalShard(index, freezeProcess);
  }

  /** Lets a frozen shard go on where it was. */
  thawShard(index: number): Promise<void> {
    return this.#signalShard(index, (running) => signalProcess(running, 'SIGCONT'));
  }

  /** Adds and starts one more shard. */
  addShard(): Promise<ShardConnection> {
    return this.#exclusively(async (launcher) => {
      const shard = await launcher.addShard();
      await launcher.startShard(shard);
      return shardConnection(shard);
    });
  }

  startStorage(): Promise<void> {
    return this.#exclusively(async (launcher) => {
      await launcher.startStorage();
    });
  }

  /** Stops the storage emulator. It writes its books every few seconds: `kill` can lose the last. */
  stopStorage(mode: StopMode = 'clean'): Promise<void> {
    return this.#exclusively(async (launcher) => {
      const running = launcher.findStorage();
      if (running === undefined) return;
      await (mode === 'kill' ? killProcess(running) : endProcess(running, STORAGE_GRACE_MS));
    });
  }

  /** Stops every server of this folder and nothing else. Returns how many were running. */
  stop(options: { readonly deleteData?: boolean } = {}): Promise<number> {
    return this.#exclusively(async (launcher) => {
      const stopped = await launcher.stopAll();
      if (options.deleteData === true) await deleteData(this.dataDir);
      return stopped;
    });
  }

  /** Empties all data and starts again, with the same ports and passwords. */
  reset(): Promise<void> {
    return this.#exclusively(async (launcher) => {
      await launcher.stopAll();
      await deleteData(this.dataDir);
      await launcher.startAll();
    });
  }

  #signalShard(
    index: number,
    signal: (running: ProcessIdentity) => boolean | Promise<boolean>,
  ): Promise<void> {
    return this.#exclusively(async (launcher) => {
      const running = launcher.findShard(this.#shard(index));
      if (running === undefined || !(await signal(running))) {
        throw new LocalShardsError(`Shard ${index} of ${this.dataDir} does not run.`);
      }
    });
  }

  #shard(index: number): ShardState {
    const shard = this.#state.shards[index];
    if (shard === undefined) {
      throw new LocalShardsError(
        `There is no shard ${index}; ${this.dataDir} has ${this.#state.shards.length}.`,
      );
    }
    return shard;
  }

  /** Reads the state as other processes left it, works on it alone, and records the outcome. */
  #exclusively<T>(action: (launcher: Launcher) => Promise<T>): Promise<T> {
    return lockStack(this.dataDir, this.#onProgress, async () => {
      this.#state = readState(this.dataDir) ?? this.#state;
      return action(new Launcher(this.dataDir, this.#state, this.#onProgress));
    });
  }
}

/**
 * Brings up shards and storage in the background and returns when all of them serve. Repeatable: what
 * runs is left alone, what was killed is started again with its data. Throws {@link LocalShardsError}.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const dataDir = resolve(options.dataDir);
  const onProgress = options.onProgress ?? (() => undefined);
  const state = await lockStack(dataDir, onProgress, async () => {
    const before = readState(dataDir);
    if (options.reset === true && before !== undefined) {
      await new Launcher(dataDir, before, onProgress).stopAll();
    }
    if (options.reset === true) {
      await deleteData(dataDir);
      await rm(stackPaths(dataDir).stateFile, { force: true });
    }
    if (before === undefined) await endAbandoned(dataDir);
    const prepared = await prepareState(options.reset === true ? undefined : before, options);
    const launcher = new Launcher(dataDir, prepared, onProgress);
    while (prepared.shards.length < (options.shards ?? 3)) await launcher.addShard();
    launcher.save();
    await launcher.startAll();
    return prepared;
  });
  return new Stack(dataDir, state, onProgress);
}

/** The stack of a data folder, running or not; `undefined` when the folder holds none. */
export function openStack(dataDir: string, onProgress?: OnProgress): Stack | undefined {
  const folder = resolve(dataDir);
  const state = readState(folder);
  return state && new Stack(folder, state, onProgress ?? (() => undefined));
}

function lockStack<T>(
  dataDir: string,
  onProgress: OnProgress,
  action: () => Promise<T>,
): Promise<T> {
  const message = `Waiting for another process that works on ${dataDir} …`;
  return exclusively(
    {
      lockFile: stackPaths(dataDir).lockFile,
      timeoutMs: LOCK_TIMEOUT_MS,
      onWait: () => onProgress({ kind: 'step', message }),
    },
    action,
  );
}

async function deleteData(dataDir: string): Promise<void> {
  const { shardsDir, storageDir } = stackPaths(dataDir);
  await rm(shardsDir, { recursive: true, force: true });
  await rm(storageDir, { recursive: true, force: true });
}
