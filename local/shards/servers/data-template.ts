import { createHash } from 'node:crypto';
import {
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerBinary } from '../binaries/server-binary.ts';
import { LocalShardsError } from '../errors.ts';
import { exclusively } from '../exclusive.ts';
import { initialiseCommand, initialiseDataDir, type InitialiseOptions } from './initialise.ts';
import { temporaryDir } from './server-options.ts';

/** The holder makes a template, which took 13 s on a busy machine, or copies one. */
const LOCK_TIMEOUT_MS = 10 * 60_000;

/**
 * What makes a server this one and no other: MySQL's id and its keys. Left out of a template, so that each server makes its own
 * at its first start. MariaDB keeps nothing of the kind.
 */
const PERSONAL = /^auto\.cnf$|\.pem$/;

/**
 * Makes the data folder of a server, complete or not at all: a copy of a template, which is made first when the cache has none
 * for this program. Initialising takes seconds of processor time, a copy some tenths. Where the cache cannot be written to, the folder
 * is initialised in its place. Throws {@link LocalShardsError} with the end of the log when the server cannot do it.
 */
export async function makeDataDir(
  options: InitialiseOptions & { readonly cacheDir: string },
): Promise<void> {
  const { binary, dataDir } = options;
  const templates = join(options.cacheDir, 'templates');
  // One lock for all versions: old templates are deleted, and must not be while they are copied.
  const lockFile = join(templates, `${binary.engine}-lock.sqlite`);
  try {
    mkdirSync(templates, { recursive: true, mode: 0o700 });
    await exclusively({ lockFile, timeoutMs: LOCK_TIMEOUT_MS }, async () => {
      const template = await templateOf(binary, templates);
      await copyWhole(template, dataDir);
    });
  } catch (error) {
    if (error instanceof LocalShardsError) throw error;
    await rm(draftOf(dataDir), FORCED);
    await initialiseDataDir(options);
  }
}

/** The template of this program; those of other versions and builds are deleted when it has to be made. */
async function templateOf(binary: ServerBinary, templates: string): Promise<string> {
  const name = templateName(binary);
  const template = join(templates, name);
  if (isWhole(template)) return template;
  for (const other of readdirSync(templates)) {
    if (other.startsWith(`${binary.engine}-data-`)) await rm(join(templates, other), FORCED);
  }
  const work = join(templates, `${binary.engine}-making`);
  const dataDir = join(work, 'data');
  await rm(dataDir, FORCED);
  mkdirSync(temporaryDir(dataDir), { recursive: true, mode: 0o700 });
  await initialiseDataDir({ binary, dataDir, logFile: join(work, 'server.log') });
  for (const file of readdirSync(dataDir).filter((each) => PERSONAL.test(each))) {
    await rm(join(dataDir, file));
  }
  await rename(dataDir, template);
  writeFileSync(inventoryFile(template), inventoryOf(template));
  await rm(work, FORCED);
  return template;
}

const FORCED = { recursive: true, force: true } as const;

/** Whether all its files are there, as long as they were: a cache may be cleaned up by others, file by file. */
function isWhole(template: string): boolean {
  if (!existsSync(template) || !existsSync(inventoryFile(template))) return false;
  return readFileSync(inventoryFile(template), 'utf8') === inventoryOf(template);
}

function inventoryFile(template: string): string {
  return `${template}.json`;
}

function inventoryOf(template: string): string {
  const files = readdirSync(template, { recursive: true, encoding: 'utf8' }).toSorted();
  return JSON.stringify(files.map((file) => [file, statSync(join(template, file)).size]));
}

/** Named by all that a template depends on: the program, how it is called, and what is taken out. */
function templateName(binary: ServerBinary): string {
  const { size, mtimeMs } = statSync(binary.program);
  const parts = [binary.version, size, mtimeMs, initialiseCommand(binary, '/'), PERSONAL.source];
  const digest = createHash('sha256').update(JSON.stringify(parts)).digest('hex');
  return `${binary.engine}-data-${binary.version}-${digest.slice(0, 16)}`;
}

/** Beside its place, and renamed last. Shares the blocks with the template where the file system can do that. */
async function copyWhole(template: string, dataDir: string): Promise<void> {
  const draft = draftOf(dataDir);
  await rm(draft, FORCED);
  await cp(template, draft, { recursive: true, mode: constants.COPYFILE_FICLONE });
  await rename(draft, dataDir);
}

function draftOf(dataDir: string): string {
  return `${dataDir}.copy`;
}
