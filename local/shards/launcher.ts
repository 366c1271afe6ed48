import { defaultCacheDir } from './binaries/find-mysqld.ts';
import type { OnProgress } from './progress.ts';
import {
  type AzuriteOptions,
  findRunningAzurite,
  launchAzurite,
  waitUntilStorageServes,
} from './servers/azurite.ts';
import {
  findRunningServer,
  PortTakenError,
  type ServerOptions,
  startServer,
  waitUntilServing,
} from './servers/mysql-server.ts';
import { isPortFree, pickPort } from './servers/ports.ts';
import {
  endProcess,
  isAlive,
  type ProcessIdentity,
  signalProcess,
} from './servers/process-identity.ts';
import {
  generatePassword,
  type ShardState,
  stackPaths,
  type StackState,
  writeState,
} from './state.ts';

/** How long a server may take to shut down cleanly before it is killed. */
export const SERVER_GRACE_MS = 30_000;
export const STORAGE_GRACE_MS = 10_000;

/** Short: its data folder may have been deleted, and then it never ends by itself. */
const UNRECORDED_GRACE_MS = 5_000;
const PORT_ATTEMPTS = 3;

/**
 * Finds, starts and ends the servers of one data folder. It edits the state it was given and writes it
 * down at every step, so that a caller that is killed leaves nothing running that nobody knows. The
 * caller holds the folder's lock.
 */
export class Launcher {
  readonly #dataDir: string;
  readonly #state: StackState;
  readonly #onProgress: OnProgress;

  constructor(dataDir: string, state: StackState, onProgress: OnProgress) {
    this.#dataDir = dataDir;
    this.#state = state;
    this.#onProgress = onProgress;
  }

  /** Starts what does not run, at the same time; waits for all. Returns how many were started. */
  async startAll(): Promise<number> {
    const outcomes = await Promise.allSettled([
      this.startStorage(),
      ...this.#state.shards.map((shard) => this.startShard(shard)),
    ]);
    let started = 0;
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') throw outcome.reason;
      if (outcome.value) started += 1;
    }
    return started;
  }

  /** Registers one more shard; {@link startShard} makes its data. */
  async addShard(): Promise<ShardState> {
    const shard: ShardState = {
      name: `shard-${this.#state.shards.length}`,
      port: await pickPort(this.#ports()),
      password: generatePassword(),
      adminPassword: generatePassword(),
    };
    this.#state.shards.push(shard);
    this.save();
    return shard;
  }

  /** Writes the state down. */
  save(): void {
    writeState(this.#dataDir, this.#state);
  }

  /** The process of a shard, also one whose starter was killed before it could record it. */
  findShard(shard: ShardState): ProcessIdentity | undefined {
    if (isAlive(shard.process)) return shard.process;
    return findRunningServer(this.#folderOf(shard), this.#state.binary);
  }

  /** The process of the storage emulator. */
  findStorage(): ProcessIdentity | undefined {
    const { storage } = this.#state;
    if (isAlive(storage.process)) return storage.process;
    return findRunningAzurite(stackPaths(this.#dataDir).storageDir);
  }

  /** Starts a shard, or lets it go on when it is frozen. True when it had to be started. */
  async startShard(shard: ShardState): Promise<boolean> {
    const running = this.findShard(shard);
    if (running !== undefined && isAlive(shard.process)) {
      signalProcess(running, 'SIGCONT');
      await waitUntilServing(this.#serverOptions(shard), running);
      return false;
    }
    await this.#endUnrecorded(running);
    for (let attempt = 1; ; attempt += 1) {
      await this.#ensureFreePort(shard);
      try {
        shard.process = await startServer(this.#serverOptions(shard));
        break;
      } catch (error) {
        if (!(error instanceof PortTakenError) || attempt === PORT_ATTEMPTS) throw error;
      }
    }
    this.save();
    this.#step(`${shard.name} serves on port ${shard.port}`);
    return true;
  }

  /** Starts the storage emulator. True when it had to be started. */
  async startStorage(): Promise<boolean> {
    const { storage } = this.#state;
    const running = this.findStorage();
    if (running !== undefined && isAlive(storage.process)) {
      await waitUntilStorageServes(this.#azuriteOptions(), running);
      return false;
    }
    await this.#endUnrecorded(running);
    for (const service of ['blob', 'queue', 'table'] as const) {
      if (await isPortFree(storage.ports[service])) continue;
      storage.ports[service] = await pickPort(this.#ports());
      this.#step(`The ${service} port was taken; using ${storage.ports[service]}`);
    }
    storage.process = await launchAzurite(this.#azuriteOptions());
    this.save();
    await waitUntilStorageServes(this.#azuriteOptions(), storage.process);
    const { blob, queue, table } = storage.ports;
    this.#step(`Azurite serves on ports ${blob} (blobs), ${queue} (queues), ${table} (tables)`);
    return true;
  }

  /** Ends every server of the folder. Returns how many were running. */
  async stopAll(): Promise<number> {
    const shards = this.#state.shards.flatMap((shard) => this.findShard(shard) ?? []);
    const storage = this.findStorage();
    await Promise.all([
      ...shards.map((running) => endProcess(running, SERVER_GRACE_MS)),
      ...(storage === undefined ? [] : [endProcess(storage, STORAGE_GRACE_MS)]),
    ]);
    for (const shard of this.#state.shards) delete shard.process;
    delete this.#state.storage.process;
    this.save();
    return shards.length + (storage === undefined ? 0 : 1);
  }

  /** A server whose starter was killed listens on a port and takes passwords we may not know. */
  async #endUnrecorded(running: ProcessIdentity | undefined): Promise<void> {
    if (running !== undefined) await endProcess(running, UNRECORDED_GRACE_MS);
  }

  async #ensureFreePort(shard: ShardState): Promise<void> {
    if (await isPortFree(shard.port)) return;
    const taken = shard.port;
    shard.port = await pickPort(this.#ports());
    this.#step(`Port ${taken} of ${shard.name} was taken; using ${shard.port}`);
  }

  #serverOptions(shard: ShardState): ServerOptions {
    const { binary, fast } = this.#state;
    return {
      folder: this.#folderOf(shard),
      binary,
      fast,
      cacheDir: defaultCacheDir(),
      port: shard.port,
      serverId: this.#state.shards.indexOf(shard) + 1,
      password: shard.password,
      adminPassword: shard.adminPassword,
    };
  }

  #azuriteOptions(): AzuriteOptions {
    const { ports } = this.#state.storage;
    return { folder: stackPaths(this.#dataDir).storageDir, ports };
  }

  #folderOf(shard: ShardState): string {
    return stackPaths(this.#dataDir).shardDir(shard.name);
  }

  /** Every port that is ours, running or not. */
  #ports(): Set<number> {
    const { blob, queue, table } = this.#state.storage.ports;
    return new Set([...this.#state.shards.map(({ port }) => port), blob, queue, table]);
  }

  #step(message: string): void {
    this.#onProgress({ kind: 'step', message });
  }
}
