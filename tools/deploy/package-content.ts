import { readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

/** A file of a package, by its path inside it, with `/`. */
export interface PackagedFile {
  readonly path: string;
  readonly bytes: number;
}

/** All files below a folder, ascending. */
export function measure(folder: string): readonly PackagedFile[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const file = join(entry.parentPath, entry.name);
      return {
        path: relative(folder, file).replaceAll('\\', '/'),
        bytes: statSync(file).size,
      };
    })
    .toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** Names of the packages that a lock file (version 3) keeps for development only. Pure. */
export function developmentOnly(lockText: string): string[] {
  const { packages } = JSON.parse(lockText) as {
    readonly packages: Readonly<Record<string, { readonly dev?: boolean }>>;
  };
  return Object.entries(packages)
    .filter(([path, { dev }]) => dev === true && path.lastIndexOf('node_modules/') === 0)
    .map(([path]) => path.slice('node_modules/'.length));
}

const ALLOWED = /^(?:dist\/src\/|sql\/|node_modules\/|(?:host|package|package-lock)\.json$)/;
/** Settings, keys and the like, wherever they lie outside of dependencies. */
const SECRET = /(?:^|\/)(?:local\.settings.*\.json|\.env.*|\.npmrc|.*\.(?:pem|key|pfx))$/;

/** Why a package may not be deployed; empty when it may. Pure. */
export function packageProblems(
  files: readonly PackagedFile[],
  limits: { readonly maxBytes: number; readonly development: readonly string[] },
): string[] {
  const problems: string[] = [];
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (bytes > limits.maxBytes) {
    problems.push(
      `The package has ${megabytes(bytes)}; at most ${megabytes(limits.maxBytes)} is allowed.`,
    );
  }
  const development = new Set(limits.development);
  const packages = new Set(files.map((file) => packageOf(file.path)));
  for (const name of packages) {
    if (development.has(name)) problems.push(`${name} is for development only.`);
  }
  for (const { path } of files) {
    if (!ALLOWED.test(path)) problems.push(`${path} does not belong into the package.`);
    else if (!path.startsWith('node_modules/') && SECRET.test(path)) {
      problems.push(`${path} may hold a secret.`);
    }
  }
  return problems;
}

/** Size by folder and by the largest dependencies, for people. Pure. */
export function describePackage(folder: string, files: readonly PackagedFile[]): string {
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  const lines = [`${folder}: ${files.length} files, ${megabytes(total)}`];
  for (const [name, bytes] of sizes(files, (path) => path.split('/')[0] ?? path)) {
    lines.push(`  ${name.padEnd(28)} ${megabytes(bytes)}`);
  }
  lines.push('Largest dependencies:');
  const dependencies = files.filter((file) => file.path.startsWith('node_modules/'));
  for (const [name, bytes] of sizes(dependencies, packageOf).slice(0, 8)) {
    lines.push(`  ${name.padEnd(28)} ${megabytes(bytes)}`);
  }
  return lines.join('\n');
}

function packageOf(path: string): string {
  const [, first = '', second = ''] = path.split('/');
  if (!path.startsWith('node_modules/')) return '';
  return first.startsWith('@') ? `${first}/${second}` : first;
}

function sizes(
  files: readonly PackagedFile[],
  groupOf: (path: string) => string,
): readonly (readonly [string, number])[] {
  const sums = new Map<string, number>();
  for (const { path, bytes } of files) {
    const group = groupOf(path);
    sums.set(group, (sums.get(group) ?? 0) + bytes);
  }
  return [...sums].toSorted((a, b) => b[1] - a[1]);
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}
