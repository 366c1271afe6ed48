import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { z } from 'zod';
import { LocalShardsError, messageOf } from '../errors.ts';
import { parseServerVersion, type ServerVersion } from './versions.ts';

const run = promisify(execFile);
const VERSION_TIMEOUT_MS = 20_000;

/** How to run one server program. Serialisable: a stack keeps using the server it was made with. */
export const serverBinarySchema = z.object({
  engine: z.enum(['mysql', 'mariadb']),
  version: z.string(),
  /** Path of `mysqld` or `mariadbd`. */
  program: z.string(),
  /** What to execute: the program itself, or a loader that is told its libraries first. */
  command: z.array(z.string()).min(1).readonly(),
  /** Where the program finds its own files; empty when its built-in defaults are right. */
  locationArgs: z.array(z.string()).readonly(),
  /** Folders that may hold MariaDB's system-table scripts. */
  shareDirs: z.array(z.string()).readonly(),
  /** Set in addition to the caller's environment. */
  environment: z.record(z.string(), z.string()).readonly(),
});

export type ServerBinary = z.infer<typeof serverBinarySchema>;

/**
 * Asks a program which server it is. Throws {@link LocalShardsError} when it does not run or is not
 * a MySQL or MariaDB server.
 */
export async function readServerVersion(
  command: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<ServerVersion> {
  const [file = '', ...args] = command;
  const shown = command.at(-1) ?? '';
  let output: string;
  try {
    const { stdout } = await run(file, [...args, '--no-defaults', '--version'], {
      timeout: VERSION_TIMEOUT_MS,
      env: { ...process.env, ...environment },
    });
    output = stdout;
  } catch (error) {
    throw new LocalShardsError(`${shown} --version does not run: ${messageOf(error)}`, error);
  }
  const version = parseServerVersion(output);
  if (version === undefined) {
    throw new LocalShardsError(
      `${shown} is not a MySQL or MariaDB server; it says: ${output.trim()}`,
    );
  }
  return version;
}
