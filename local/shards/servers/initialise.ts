import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, createReadStream, existsSync, mkdirSync, openSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ServerBinary } from '../binaries/server-binary.ts';
import { LocalShardsError } from '../errors.ts';
import { logTail } from './detached.ts';
import { findByArguments, killProcess } from './process-identity.ts';
import { baseArguments, dataDirArgument } from './server-options.ts';

export interface InitialiseOptions {
  readonly binary: ServerBinary;
  /** Must not exist; made complete or not at all. */
  readonly dataDir: string;
  readonly logFile: string;
}

/** MariaDB's system tables, in this order. Newer versions write `mariadb` for `mysql` in the names. */
const SYSTEM_SCRIPTS: readonly (readonly string[])[] = [
  ['mysql_system_tables.sql', 'mariadb_system_tables.sql'],
  ['mysql_performance_tables.sql', 'mariadb_performance_tables.sql'],
  ['mysql_system_tables_data.sql', 'mariadb_system_tables_data.sql'],
  ['fill_help_tables.sql'],
  ['maria_add_gis_sp_bootstrap.sql'],
  ['mysql_sys_schema.sql', 'mariadb_sys_schema.sql'],
];

/**
 * Makes the data folder of a server. It is made beside its place and renamed last, so that a folder
 * under the final name is always complete. Throws {@link LocalShardsError} with the end of the log.
 */
export async function initialiseDataDir(options: InitialiseOptions): Promise<void> {
  const { binary, logFile } = options;
  const draft = `${options.dataDir}.new`;
  // Left over when its starter was killed; it would write into the new draft.
  const leftover = findByArguments([binary.program, dataDirArgument(draft)]);
  if (leftover !== undefined) await killProcess(leftover);
  await rm(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true, mode: 0o700 });
  const command = initialiseCommand(binary, draft);
  if (binary.engine === 'mysql') {
    await runToEnd(command, { binary, logFile });
  } else {
    const input = Readable.from(bootstrapSql(systemScripts(binary)));
    await runToEnd(command, { binary, logFile, input });
  }
  await rename(draft, options.dataDir);
}

/** What makes a data folder; MariaDB also takes the statements of its system tables. */
export function initialiseCommand(binary: ServerBinary, dataDir: string): readonly string[] {
  const common = [
    ...binary.command,
    ...baseArguments(binary, dataDir),
    '--skip-log-bin',
    '--innodb-flush-log-at-trx-commit=2',
  ];
  return binary.engine === 'mysql'
    ? [...common, '--initialize-insecure']
    : [
        ...common,
        '--bootstrap',
        '--max-allowed-packet=8M',
        '--net-buffer-length=16K',
        '--log-warnings=0',
      ];
}

interface RunOptions {
  readonly binary: ServerBinary;
  readonly logFile: string;
  readonly input?: Readable;
}

async function runToEnd(command: readonly string[], options: RunOptions): Promise<void> {
  const { binary, logFile, input } = options;
  const log = openSync(logFile, 'a', 0o600);
  const [file = '', ...args] = command;
  try {
    const child = spawn(file, args, {
      stdio: [input === undefined ? 'ignore' : 'pipe', log, log],
      env: { ...process.env, ...binary.environment },
    });
    const closed = once(child, 'close');
    if (input !== undefined && child.stdin !== null) {
      // A server that gives up early closes its input; its exit code says more than EPIPE.
      await pipeline(input, child.stdin).catch(() => undefined);
    }
    const [code] = await closed;
    if (code === 0) return;
  } finally {
    closeSync(log);
  }
  throw new LocalShardsError(
    `${binary.program} could not make a data folder. The end of ${logFile}:\n${logTail(logFile)}`,
  );
}

function systemScripts(binary: ServerBinary): string[] {
  return SYSTEM_SCRIPTS.map((names) => {
    const files = binary.shareDirs.flatMap((dir) => names.map((name) => join(dir, name)));
    const found = files.find((file) => existsSync(file));
    if (found === undefined) {
      throw new LocalShardsError(
        `MariaDB's script ${names[0]} is in none of ${binary.shareDirs.join(', ')}.`,
      );
    }
    return found;
  });
}

async function* bootstrapSql(scripts: readonly string[]): AsyncGenerator<string | Buffer> {
  yield 'CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n';
  for (const script of scripts) {
    yield* createReadStream(script) as AsyncIterable<Buffer>;
    yield '\n';
  }
}
