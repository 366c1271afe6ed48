import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { endAbandoned } from '../../local/shards/abandoned.ts';
import type { ShardConnection } from '../../local/shards/settings.ts';
import { openStack } from '../../local/shards/stack.ts';

export interface CommandResult {
  readonly exitCode: number | null;
  readonly output: string;
}

/** A data folder of one test. `dispose` stops what runs in it and deletes it. */
export function temporaryStackFolder(): {
  readonly dataDir: string;
  readonly dispose: () => Promise<void>;
} {
  const dataDir = mkdtempSync(join(tmpdir(), 'shardline-local-'));
  return {
    dataDir,
    async dispose() {
      await openStack(dataDir)?.stop();
      await endAbandoned(dataDir);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Runs the command line of the local shards to its end, as `npm run local:up` does. */
export function runShardsCommand(args: readonly string[]): Promise<CommandResult> {
  const script = resolve('local/shards/cli.ts');
  const command = ['--disable-warning=ExperimentalWarning', script, ...args];
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  return new Promise((done, failed) => {
    child.on('error', failed);
    child.on('close', (exitCode) => done({ exitCode, output }));
  });
}

/** Runs one statement as the application's user and returns its rows. */
export async function queryShard(
  shard: ShardConnection,
  statement: string,
): Promise<readonly Record<string, unknown>[]> {
  const { host, port, user, password, database } = shard;
  const connection = await createConnection({ host, port, user, password, database });
  try {
    const [rows] = await connection.query<RowDataPacket[]>(statement);
    return Array.isArray(rows) ? rows : [];
  } finally {
    await connection.end();
  }
}
