import { spawn } from 'node:child_process';
import { resolve } from 'node:path';

/** How a command ended, and all that it said. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a line of `sh` in this repository to its end. The environment is what is given and, of the tests' own, what finds
 * programs: no setting gets in by chance.
 */
export function runLine(line: string, env: Readonly<Record<string, string>>): Promise<Ended> {
  const { PATH = '', HOME = '' } = process.env;
  const bin = resolve('node_modules/.bin');
  const child = spawn('sh', ['-c', line], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { HOME, ...env, PATH: [env['PATH'], bin, PATH].filter(Boolean).join(':') },
  });
  const ended = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => (ended[name] += text));
  }
  return new Promise((done, failed) => {
    child.once('error', failed);
    child.once('close', (code) => done({ code, ...ended }));
  });
}
