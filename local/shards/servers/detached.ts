import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { LocalShardsError } from '../errors.ts';
import { identityOf, type ProcessIdentity } from './process-identity.ts';

export interface DetachedCommand {
  readonly command: readonly string[];
  readonly cwd: string;
  /** Receives what the process prints; appended to. */
  readonly logFile: string;
  readonly environment?: Readonly<Record<string, string>>;
}

const TAIL_LINES = 12;

/** Starts a process in a session of its own, so that it outlives this one and its terminal. */
export async function startDetached(options: DetachedCommand): Promise<ProcessIdentity> {
  mkdirSync(dirname(options.logFile), { recursive: true });
  const log = openSync(options.logFile, 'a', 0o600);
  try {
    const [file = '', ...args] = options.command;
    const child = spawn(file, args, {
      cwd: options.cwd,
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...options.environment },
    });
    await once(child, 'spawn');
    child.unref();
    const identity = child.pid === undefined ? undefined : identityOf(child.pid);
    if (identity === undefined) throw startFailed(file, options.logFile);
    return identity;
  } finally {
    closeSync(log);
  }
}

/** The error of a process that ended instead of serving, with the end of its log. */
export function startFailed(what: string, logFile: string): LocalShardsError {
  return new LocalShardsError(
    `${what} ended right after its start. The end of ${logFile}:\n${logTail(logFile)}`,
  );
}

/** The last lines of a log; empty when there is none. */
export function logTail(logFile: string): string {
  if (!existsSync(logFile)) return '';
  return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-TAIL_LINES).join('\n');
}
