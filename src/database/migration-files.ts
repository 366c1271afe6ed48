import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BugError } from '../kernel/errors.ts';

/** One file of `sql/shard/`, `NNNN_name.sql`. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  /** SHA-256 of the text with LF line ends, hexadecimal. */
  readonly checksum: string;
  readonly statements: readonly string[];
  /** The oldest schema version whose builds work on with this one applied, and while it is being applied. */
  readonly compatibleWith: number;
}

const FILE_NAME = /^(\d{4})_([a-z0-9_]{1,100})\.sql$/;

/**
 * Reads the migrations that belong to this build, ascending. The folder is found from the package root, which is
 * the nearest folder with a package.json above this file: the same from `src/` and from `dist/src/`.
 */
export async function loadMigrations(): Promise<readonly Migration[]> {
  return readMigrations(join(packageRoot(), 'sql', 'shard'));
}

/** Reads a folder of migrations. Throws BugError when they are not numbered 1, 2, 3 … without a gap. */
export async function readMigrations(folder: string): Promise<readonly Migration[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).toSorted();
  const files = await Promise.all(
    names.map(async (name) => parseMigration(name, await readFile(join(folder, name), 'utf8'))),
  );
  files.forEach((file, index) => {
    if (file.version !== index + 1) {
      throw new BugError(
        `migrations must be numbered 0001, 0002, … without a gap; ${file.name} comes at place ${index + 1}`,
      );
    }
  });
  return files;
}

/** Parses one migration file; pure. */
export function parseMigration(fileName: string, content: string): Migration {
  const match = FILE_NAME.exec(fileName);
  if (match === null) {
    throw new BugError(`migration files are called NNNN_name.sql; "${fileName}" is not`);
  }
  // A checkout with CRLF is the same migration.
  const text = content.replaceAll('\r\n', '\n');
  const version = Number(match[1]);
  return {
    version,
    compatibleWith: compatibleWith(version, text),
    name: fileName.slice(0, -'.sql'.length),
    checksum: hash('sha256', text, 'hex'),
    statements: splitStatements(text),
  };
}

/** From the line `-- compatible-with: N`; without it no older build may use the schema. */
function compatibleWith(version: number, text: string): number {
  const line = /^-- compatible-with:(.*)$/m.exec(text);
  if (line === null) return version;
  const oldest = Number(line[1]);
  if (Number.isInteger(oldest) && oldest >= 1 && oldest <= version) return oldest;
  throw new BugError(
    `migration ${version}: "compatible-with:" takes a version from 1 to ${version}, got "${line[1]?.trim()}"`,
  );
}

/**
 * Parts of SQL text that are passed over as one: quoted text and names (a doubled quote or a backslash goes on),
 * comments, a semicolon, or one other character. Comments are dropped except `/*! … *\/` and `/*+ … *\/`, which
 * the server reads.
 */
const TOKEN =
  /'(?:[^'\\]|\\[^]|'')*'|"(?:[^"\\]|\\[^]|"")*"|`(?:[^`]|``)*`|--(?=\s|$).*|#.*|\/\*[^]*?\*\/|[^]/g;

/** Statements of a migration, without comments and semicolons; pure. Knows no DELIMITER: no stored programs. */
export function splitStatements(text: string): string[] {
  const statements: string[] = [];
  let current = '';
  const finish = (): void => {
    if (current.trim() !== '') statements.push(current.trim());
    current = '';
  };
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === ';') finish();
    else if (/^(?:--.|--$|#|\/\*(?![!+]).)/s.test(token) && token.length > 1) current += ' ';
    else current += token;
  }
  finish();
  return statements;
}

function packageRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (folder === dirname(folder)) throw new BugError(`no package.json above ${start}`);
  }
}
