import { spawn, type ChildProcess } from 'node:child_process';
import { afterEach } from 'vitest';

/** A child process with its output collected. */
export interface Child {
  readonly process: ChildProcess;
  /** Everything written to stdout and stderr so far. */
  output(): string;
  /** Resolves with the match as soon as the output has it; rejects when the child ends before. */
  waitFor(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  /** The exit code, or the name of the signal. */
  readonly ended: Promise<number | string>;
  /** Sends the signal and waits for the end. */
  signal(name: NodeJS.Signals): Promise<number | string>;
}

const alive = new Set<Child>();

afterEach(async () => {
  await Promise.all([...alive].map((child) => child.signal('SIGKILL')));
});

/** Starts a program that is killed after the test if it still runs. */
export function startChild(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Child {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...env } });
  let output = '';
  const listeners = new Set<() => void>();
  const append = (chunk: Buffer): void => {
    output += chunk.toString('utf8');
    for (const listener of listeners) listener();
  };
  child.stdout.on('data', append);
  child.stderr.on('data', append);
  const ended = new Promise<number | string>((resolve) => {
    child.once('close', (code, signal) => {
      alive.delete(handle);
      resolve(code ?? signal ?? 'unknown');
      for (const listener of listeners) listener();
    });
  });
  const handle: Child = {
    process: child,
    output: () => output,
    ended,
    signal: async (name) => {
      child.kill(name);
      return ended;
    },
    waitFor: async (pattern, timeoutMs = 30_000) =>
      new Promise((resolve, reject) => {
        const finish = (act: () => void): void => {
          clearTimeout(timer);
          listeners.delete(check);
          act();
        };
        const check = (): void => {
          const match = pattern.exec(output);
          if (match !== null) finish(() => resolve(match));
          else if (!alive.has(handle)) {
            finish(() => reject(new Error(`The child ended without ${pattern}:\n${output}`)));
          }
        };
        const timer = setTimeout(
          () => finish(() => reject(new Error(`No ${pattern} in ${timeoutMs} ms:\n${output}`))),
          timeoutMs,
        );
        listeners.add(check);
        check();
      }),
  };
  alive.add(handle);
  return handle;
}
