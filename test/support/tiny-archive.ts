import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export interface TinyPackage {
  readonly name: string;
  readonly depends?: string;
  /** Path inside the package to the text of an executable file. */
  readonly files: Readonly<Record<string, string>>;
}

/**
 * Makes a Debian archive of a few packages in a folder, so that fetching can be tested without a
 * network. Returns its line for a `sources.list`.
 */
export function makeTinyArchive(dir: string, packages: readonly TinyPackage[]): string {
  const architecture = run('dpkg', ['--print-architecture']).trim();
  const stanzas = packages.map((entry) => buildPackage(dir, entry, architecture));
  const index = `dists/tiny/main/binary-${architecture}/Packages`;
  write(join(dir, index), stanzas.join('\n'));
  const { size, sha256 } = measure(join(dir, index));
  const listed = `${sha256} ${size} ${index.replace('dists/tiny/', '')}`;
  const head = `Suite: tiny\nCodename: tiny\nComponents: main\nArchitectures: ${architecture}\n`;
  write(
    join(dir, 'dists/tiny/Release'),
    `${head}Date: ${new Date().toUTCString()}\nSHA256:\n ${listed}\n`,
  );
  return `deb [trusted=yes arch=${architecture}] file:${dir} tiny main`;
}

function buildPackage(dir: string, entry: TinyPackage, architecture: string): string {
  const tree = join(dir, 'build', entry.name);
  for (const [path, text] of Object.entries(entry.files)) {
    write(join(tree, path), text);
    chmodSync(join(tree, path), 0o755);
  }
  const depends = entry.depends === undefined ? '' : `Depends: ${entry.depends}\n`;
  const control = `Package: ${entry.name}\nVersion: 1.0\nArchitecture: ${architecture}\nMaintainer: Test <test@example.org>\nDescription: test\n${depends}`;
  write(join(tree, 'DEBIAN/control'), control);
  const fileName = `pool/${entry.name}_1.0_${architecture}.deb`;
  mkdirSync(join(dir, 'pool'), { recursive: true });
  run('dpkg-deb', ['--build', '--root-owner-group', tree, join(dir, fileName)]);
  const { size, sha256 } = measure(join(dir, fileName));
  return `${control}Filename: ${fileName}\nSize: ${size}\nSHA256: ${sha256}\n`;
}

function measure(file: string): { readonly size: number; readonly sha256: string } {
  const sha256 = createHash('sha256').update(readFileSync(file)).digest('hex');
  return { size: statSync(file).size, sha256 };
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

function run(file: string, args: readonly string[]): string {
  return execFileSync(file, args, { encoding: 'utf8' });
}
