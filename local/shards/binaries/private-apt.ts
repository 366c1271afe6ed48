import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LocalShardsError, messageOf } from '../errors.ts';
import type { OnProgress } from '../progress.ts';

const run = promisify(execFile);
const COMMAND_TIMEOUT_MS = 10 * 60_000;
const POLL_MS = 100;
const OUTPUT_LIMIT_BYTES = 64 * 1024 * 1024;

/** A package file of the archive, as apt would download it. */
interface PackageFile {
  readonly fileName: string;
  readonly bytes: number;
}

/** apt with lists, cache and status of its own: it reads and changes nothing of the system's. */
export interface PrivateApt {
  /** Downloads the package lists. */
  update(): Promise<void>;
  /** The newest version of a package in these lists, or `undefined` when there is none. */
  candidate(packageName: string): Promise<string | undefined>;
  /** A package and everything it needs, without recommendations. */
  closure(packageName: string): Promise<string[]>;
  /** Downloads packages (apt checks their hashes) and returns the paths of the files. */
  download(packages: readonly string[], label: string): Promise<string[]>;
}

/**
 * Prepares a private apt in `dir`. Proxies and certificates of the machine's own configuration
 * stay in force, because the private file is read after it.
 */
export function createPrivateApt(
  dir: string,
  sourceLines: readonly string[],
  onProgress: OnProgress,
): PrivateApt {
  const lists = join(dir, 'lists');
  const packageDir = join(dir, 'packages');
  for (const folder of [join(lists, 'partial'), join(dir, 'cache/archives/partial'), packageDir]) {
    mkdirSync(folder, { recursive: true });
  }
  writeFileSync(join(dir, 'status'), '');
  writeFileSync(join(dir, 'sources.list'), `${sourceLines.join('\n')}\n`);
  const config = join(dir, 'apt.conf');
  writeFileSync(config, aptConfiguration(dir));
  const apt = (tool: string, args: readonly string[], cwd = dir): Promise<string> =>
    runTool(tool, ['-c', config, ...args], cwd);

  return {
    async update() {
      // apt unpacks a list beside what it downloaded and deletes the download in the end.
      let doneBytes = 0;
      const report = (): void => {
        const bytes = sizeOf(lists, /(Release|\.xz|\.gz|\.bz2|\.zst)$/);
        if (bytes <= doneBytes) return;
        doneBytes = bytes;
        onProgress({ kind: 'transfer', label: 'package lists', doneBytes });
      };
      await whilePolling(report, apt('apt-get', ['update']));
    },
    async candidate(packageName) {
      const policy = await apt('apt-cache', ['policy', packageName]);
      const version = /Candidate:\s*(\S+)/.exec(policy)?.[1];
      return version === '(none)' ? undefined : version;
    },
    async closure(packageName) {
      const without = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'];
      const options = ['--recurse', ...without.map((relation) => `--no-${relation}`)];
      const tree = await apt('apt-cache', ['depends', ...options, packageName]);
      // Packages start a line; their dependencies are indented and virtual ones are in brackets.
      return [...new Set(tree.split('\n').filter((line) => /^[a-z0-9]/.test(line)))];
    },
    async download(packages, label) {
      const listing = await apt('apt-get', ['--print-uris', 'download', ...packages]);
      const totalBytes = parseUris(listing).reduce((sum, file) => sum + file.bytes, 0);
      const report = (): void => {
        const doneBytes = Math.min(sizeOf(packageDir, /./), totalBytes);
        onProgress({ kind: 'transfer', label, doneBytes, totalBytes });
      };
      await whilePolling(report, apt('apt-get', ['download', ...packages], packageDir));
      report();
      return readdirSync(packageDir)
        .filter((file) => file.endsWith('.deb'))
        .map((file) => join(packageDir, file));
    },
  };
}

/** The architecture packages are fetched for, e.g. `amd64`. */
export async function debianArchitecture(): Promise<string> {
  const output = await runTool('dpkg', ['--print-architecture'], process.cwd());
  return output.trim();
}

/** Unpacks a package file into a folder without installing it: no scripts run. */
export async function unpackPackage(file: string, into: string): Promise<void> {
  await runTool('dpkg', ['-x', file, into], process.cwd());
}

/** The release of this machine from os-release(5), e.g. `{ id: 'debian', codename: 'bookworm' }`. */
export function readRelease(text = readFileSync('/etc/os-release', 'utf8')): {
  readonly id: string;
  readonly codename: string;
} {
  const field = (name: string): string =>
    new RegExp(`^${name}="?([^"\\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  return { id: field('ID'), codename: field('VERSION_CODENAME') };
}

function aptConfiguration(dir: string): string {
  return [
    // Hooks of the machine act on its own cache and have no business here.
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
    '#clear APT::Architectures;',
    `Dir::Etc::SourceList "${dir}/sources.list";`,
    'Dir::Etc::SourceParts "/dev/null";',
    // A pin or default release of the machine must not hide the suite we ask for.
    'Dir::Etc::Preferences "/dev/null";',
    'Dir::Etc::PreferencesParts "/dev/null";',
    'APT::Default-Release "";',
    `Dir::State "${dir}";`,
    `Dir::State::Lists "${dir}/lists";`,
    `Dir::State::status "${dir}/status";`,
    `Dir::Cache "${dir}/cache";`,
    // The sandbox user cannot enter a private folder.
    'APT::Sandbox::User "root";',
    // Some index failures are warnings by default; half a list is of no use.
    'APT::Update::Error-Mode "any";',
    'Acquire::Languages "none";',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";',
    'Acquire::Retries "3";',
    '',
  ].join('\n');
}

function parseUris(listing: string): PackageFile[] {
  return listing.split('\n').flatMap((line) => {
    const match = /^'[^']+'\s+(\S+)\s+(\d+)/.exec(line);
    if (match?.[1] === undefined) return [];
    return [{ fileName: match[1], bytes: Number(match[2]) }];
  });
}

async function runTool(tool: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    const { stdout } = await run(tool, args, {
      cwd,
      timeout: COMMAND_TIMEOUT_MS,
      maxBuffer: OUTPUT_LIMIT_BYTES,
      env: { ...process.env, LC_ALL: 'C' },
    });
    return stdout;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new LocalShardsError(`this machine has no ${tool}`, error);
    }
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    const lastLines = (said || messageOf(error)).split('\n').slice(-3).join(' ');
    throw new LocalShardsError(`${tool} ${args.at(-1) ?? ''} failed: ${lastLines}`, error);
  }
}

async function whilePolling<T>(report: () => void, work: Promise<T>): Promise<T> {
  const timer = setInterval(report, POLL_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

/** Bytes of the matching files in a folder and its folders; files come and go while apt works. */
function sizeOf(dir: string, matching: RegExp): number {
  let bytes = 0;
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) bytes += sizeOf(path, matching);
    else if (matching.test(entry.name)) {
      bytes += statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    }
  }
  return bytes;
}
