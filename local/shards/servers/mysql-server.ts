import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection } from 'mysql2/promise';
import type { ServerBinary } from '../binaries/server-binary.ts';
import { LocalShardsError, messageOf } from '../errors.ts';
import { makeDataDir } from './data-template.ts';
import { startDetached, startFailed } from './detached.ts';
import { LOOPBACK } from './ports.ts';
import { findByArguments, isAlive, type ProcessIdentity } from './process-identity.ts';
import {
  accountStatements,
  type Accounts,
  APPLICATION_USER,
  DATABASE,
  dataDirArgument,
  PID_FILE,
  serverArguments,
  SOCKET,
  temporaryDir,
} from './server-options.ts';

/** Recovery after a kill replays the redo log, which is small here; machines may be slow. */
const READY_TIMEOUT_MS = 120_000;
const READY_POLL_MS = 50;
const CONNECT_TIMEOUT_MS = 2_000;

export interface ServerOptions extends Accounts {
  /** Folder of this server alone: its data folder, log and start-up statements. */
  readonly folder: string;
  readonly binary: ServerBinary;
  readonly port: number;
  readonly serverId: number;
  readonly fast: boolean;
  /** Holds templates of data folders; need not be writable. */
  readonly cacheDir: string;
}

/** Where the parts of one server lie in its folder. */
export function serverPaths(folder: string): {
  readonly dataDir: string;
  readonly logFile: string;
  readonly initFile: string;
} {
  return {
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'server.log'),
    initFile: join(folder, 'accounts.sql'),
  };
}

/** A server of this folder that runs although nobody recorded it (its starter was killed). */
export function findRunningServer(
  folder: string,
  binary: ServerBinary,
): ProcessIdentity | undefined {
  return findByArguments([binary.program, dataDirArgument(serverPaths(folder).dataDir)]);
}

/** Raised when the port was taken between choosing it and listening on it: choose another one. */
export class PortTakenError extends LocalShardsError {}

/**
 * Starts a server, making its data folder first when there is none, and waits until the application's
 * user can log in. Throws {@link PortTakenError}, or {@link LocalShardsError} with the end of the log
 * when the server does not come up.
 */
export async function startServer(options: ServerOptions): Promise<ProcessIdentity> {
  const { binary } = options;
  const { dataDir, logFile, initFile } = serverPaths(options.folder);
  mkdirSync(temporaryDir(dataDir), { recursive: true, mode: 0o700 });
  if (!existsSync(dataDir)) {
    await makeDataDir({ binary, dataDir, logFile, cacheDir: options.cacheDir });
  }
  // A killed server leaves these behind; MySQL would take a stranger with the old pid for its twin.
  for (const file of [SOCKET, `${SOCKET}.lock`, PID_FILE]) {
    await rm(join(dataDir, file), { force: true });
  }
  writeFileSync(initFile, `${accountStatements(options).join(';\n')};\n`, { mode: 0o600 });
  const logStart = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
  const identity = await startDetached({
    command: [...binary.command, ...serverArguments({ ...options, dataDir, initFile })],
    cwd: dataDir,
    logFile,
    environment: binary.environment,
  });
  await waitUntilServing(options, identity).catch((error: unknown) => {
    const added = readFileSync(logFile).subarray(logStart).toString('utf8');
    if (/address already in use/i.test(added)) throw new PortTakenError(messageOf(error), error);
    throw error;
  });
  return identity;
}

/**
 * Waits until the application's user can log in. Throws {@link LocalShardsError} with the end of the
 * log when the server ends or does not serve in time.
 */
export async function waitUntilServing(
  options: ServerOptions,
  identity: ProcessIdentity,
): Promise<void> {
  const { logFile } = serverPaths(options.folder);
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const refusal = await tryLogin(options);
    if (refusal === undefined) return;
    if (!isAlive(identity)) throw startFailed(options.binary.program, logFile);
    if (performance.now() > deadline) {
      throw new LocalShardsError(
        `The server on port ${options.port} does not let the application in: ${refusal}. Its log: ${logFile}`,
      );
    }
    await sleep(READY_POLL_MS);
  }
}

async function tryLogin(options: ServerOptions): Promise<string | undefined> {
  try {
    const connection = await createConnection({
      host: LOOPBACK,
      port: options.port,
      user: APPLICATION_USER,
      password: options.password,
      database: DATABASE,
      connectTimeout: CONNECT_TIMEOUT_MS,
    });
    await connection.end();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}
