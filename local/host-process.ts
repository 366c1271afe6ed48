import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** The line by which the local host says that it serves. */
const READY = /Host ready on (http:\/\/\S+)/;
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;
/** How much of the output is kept to explain a host that did not start. */
const TAIL_LINES = 40;

export interface HostProcessOptions {
  /** 0 picks a free one. */
  readonly port: number;
  /** The host's own state folder; a second host on it is refused. */
  readonly dataDir: string;
  /** Application settings, over those of the parent's environment. */
  readonly settings: Readonly<Record<string, string>>;
  readonly auth?: boolean;
  /** Folder of the app to run; default: this repository. */
  readonly app?: string;
  /** Where the host's output goes; default: dropped, but for the last lines. */
  readonly logFile?: string;
  /** Each line of output as it comes. */
  readonly onLine?: (line: string) => void;
}

/** A local host running as a process of its own, so that it can be killed and started again. */
export interface HostProcess {
  /** `http://127.0.0.1:PORT` */
  readonly origin: string;
  readonly pid: number;
  /** Ends it the polite way (running work is drained) and waits. */
  stop(): Promise<void>;
  /** `kill -9`, and waits until the process is gone. */
  kill(): Promise<void>;
  /** Resolves when the process has ended, with its exit code (null after a signal). */
  readonly exited: Promise<number | null>;
}

/** Starts the local host and waits until it serves. Throws with the end of its output when it does not. */
export async function startHostProcess(options: HostProcessOptions): Promise<HostProcess> {
  const child = spawnHost(options);
  const log =
    options.logFile === undefined ? undefined : createWriteStream(options.logFile, { flags: 'a' });
  const tail: string[] = [];
  const exited = new Promise<number | null>((resolve) =>
    child.once('exit', (code) => resolve(code)),
  );
  const origin = await new Promise<string>((resolve, reject) => {
    const fail = (why: string): void =>
      reject(
        new Error(`The local host did not start (${why}). Its last lines:\n${tail.join('\n')}`),
      );
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail(`no answer within ${START_TIMEOUT_MS / 1000} s`);
    }, START_TIMEOUT_MS);
    const onLine = (line: string): void => {
      keep(tail, line, log);
      options.onLine?.(line);
      const ready = READY.exec(line);
      if (ready !== null) {
        clearTimeout(timer);
        resolve(ready[1] as string);
      }
    };
    for (const stream of [child.stdout, child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', onLine);
    }
    child.once('error', (error) => fail(error.message));
    child.once('close', (code) => {
      clearTimeout(timer);
      log?.end();
      fail(`it ended with code ${String(code)}`);
    });
  });
  return {
    origin,
    pid: child.pid as number,
    exited,
    stop: () => end(child, exited, 'SIGTERM'),
    kill: () => end(child, exited, 'SIGKILL'),
  };
}

function spawnHost(options: HostProcessOptions): ChildProcess {
  const cli = path.join(import.meta.dirname, 'host', 'cli.ts');
  const app = options.app ?? path.resolve(import.meta.dirname, '..');
  const args = ['--app', app, '--port', String(options.port), '--data', options.dataDir];
  if (options.auth === true) args.push('--auth');
  return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', cli, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.settings },
  });
}

function keep(tail: string[], line: string, log: WriteStream | undefined): void {
  tail.push(line);
  if (tail.length > TAIL_LINES) tail.shift();
  log?.write(`${line}\n`);
}

async function end(
  child: ChildProcess,
  exited: Promise<unknown>,
  signal: 'SIGTERM' | 'SIGKILL',
): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  const force = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(force);
}
