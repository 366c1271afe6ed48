import { spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClientTools } from '../local/shards/binaries/client-tools.ts';
import type { Engine } from '../local/shards/binaries/versions.ts';
import { LocalShardsError } from '../local/shards/errors.ts';
import type { ShardConnection } from '../local/shards/settings.ts';
import { SHARDED_TABLES } from '../src/sharding/sharded-tables.ts';

export interface DumpPipe {
  /** As it would be typed, without folders and passwords. */
  readonly shown: string;
  /** Carries the bucket's rows over. Rejects when either program fails. */
  run(bucket: number): Promise<void>;
  dispose(): Promise<void>;
}

export interface DumpPipeOptions {
  readonly tools: ClientTools;
  readonly engine: Engine;
  readonly source: ShardConnection;
  readonly target: ShardConnection;
}

/**
 * `mysqldump | mysql` through a pipe of the shell, so that nothing of ours is between the two. Both connect without TLS,
 * as the product does here, and keep the vendor's defaults for packets, locks and everything else.
 */
export function createDumpPipe(options: DumpPipeOptions): DumpPipe {
  const { tools, engine, source, target } = options;
  const dir = mkdtempSync(join(tmpdir(), 'shardline-bench-'));
  const defaults = (name: string, shard: ShardConnection): string => {
    const file = join(dir, name);
    writeFileSync(file, optionFile(engine, shard), { mode: 0o600 });
    return `--defaults-file=${file}`;
  };
  const from = defaults('source.cnf', source);
  const to = defaults('target.cnf', target);
  const what = (bucket: number): string[] => [
    '--single-transaction',
    '--no-create-info',
    '--skip-triggers',
    '--no-tablespaces',
    // The target has a history of its own.
    ...(engine === 'mysql' ? ['--set-gtid-purged=OFF'] : []),
    `--where=bucket = ${bucket}`,
    source.database,
    ...SHARDED_TABLES.map(({ name }) => name),
  ];
  return {
    shown: `mysqldump ${what(0).map(quoted).join(' ')} | mysql ${target.database}`,
    run: (bucket) => {
      const dump = [...tools.dump, from, ...what(bucket)].map(quoted).join(' ');
      const client = [...tools.client, to, target.database].map(quoted).join(' ');
      return runShell(`${dump} | ${client}`, tools.environment);
    },
    dispose: () => rm(dir, { recursive: true, force: true }),
  };
}

function optionFile(engine: Engine, { host, port, user, password }: ShardConnection): string {
  // Without TLS MySQL hands its public key out for the password only when asked.
  const plain = engine === 'mysql' ? ['ssl-mode=DISABLED', 'get-server-public-key'] : ['skip-ssl'];
  const lines = [`host=${host}`, `port=${port}`, 'protocol=tcp', `user=${user}`];
  return `[client]\n${[...lines, `password="${password}"`, ...plain].join('\n')}\n`;
}

function quoted(word: string): string {
  return /^[\w./:=-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

function runShell(line: string, environment: Readonly<Record<string, string>>): Promise<void> {
  // bash, because only it tells that the first program of a pipe has failed.
  const shell = spawn('bash', ['-o', 'pipefail', '-c', line], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...environment },
  });
  let said = '';
  shell.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  return new Promise((done, failed) => {
    shell.on('error', (error) => failed(new LocalShardsError('bash does not run', error)));
    shell.on('close', (code) => {
      if (code === 0) done();
      else failed(new LocalShardsError(`mysqldump | mysql ended with ${code}: ${said.trim()}`));
    });
  });
}
