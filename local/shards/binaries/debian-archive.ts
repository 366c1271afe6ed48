import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { arch, availableParallelism } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { LocalShardsError } from '../errors.ts';
import { exclusively } from '../exclusive.ts';
import type { OnProgress } from '../progress.ts';
import {
  type AptSource,
  debianSources,
  mainArchive,
  parseDeb822Sources,
  parseOneLineSources,
  toSourceLine,
} from './apt-sources.ts';
import {
  createPrivateApt,
  debianArchitecture,
  type PrivateApt,
  readRelease,
  unpackPackage,
} from './private-apt.ts';
import { readServerVersion, type ServerBinary } from './server-binary.ts';
import { type Engine, engineName } from './versions.ts';

/** Package and program of each engine. MySQL is in Debian's archive only in sid. */
const FETCHED: Readonly<Record<Engine, { package: string; program: string; suite?: string }>> = {
  mysql: { package: 'mysql-server-core', program: 'usr/sbin/mysqld', suite: 'sid' },
  mariadb: { package: 'mariadb-server-core', program: 'usr/sbin/mariadbd' },
};
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const MANIFEST = 'manifest.json';
const FETCH_TIMEOUT_MS = 15 * 60_000;

const manifestSchema = z.object({
  engine: z.enum(['mysql', 'mariadb']),
  version: z.string(),
  /** Both relative to the folder of the manifest, so that a cache can be moved. */
  loader: z.string(),
  libraryDirs: z.array(z.string()),
});
type Manifest = z.infer<typeof manifestSchema>;

export interface FetchOptions {
  readonly engine: Engine;
  readonly cacheDir: string;
  /** Lines of sources.list(5) to use instead of the machine's own. */
  readonly sources?: readonly string[];
  readonly onProgress: OnProgress;
}

/** The server an earlier fetch left in the cache, or `undefined`. */
export function cachedServer(engine: Engine, cacheDir: string): ServerBinary | undefined {
  const root = serverDir(engine, cacheDir);
  if (!existsSync(join(root, MANIFEST))) return undefined;
  const manifest = manifestSchema.parse(JSON.parse(readFileSync(join(root, MANIFEST), 'utf8')));
  return describeServer(root, manifest);
}

/**
 * Fetches a server and the libraries it needs from Debian's archive into the cache, without
 * installing anything: it runs through its own loader beside the machine's libraries. Two callers at
 * once share one fetch; a fetch that was cut off leaves nothing that counts as a server.
 * Throws {@link LocalShardsError} when the machine has no apt or the archive no such package.
 */
export async function fetchServer(options: FetchOptions): Promise<ServerBinary> {
  const { engine, cacheDir } = options;
  return fetchOnce(options, {
    what: 'server',
    present: () => cachedServer(engine, cacheDir),
    fetchInto: (workDir) => fetchInto(workDir, options),
  });
}

/** What {@link fetchOnce} brings into the cache. */
export interface Wanted<T> {
  /** For messages: "the fetched …". */
  readonly what: string;
  /** The complete result of an earlier fetch. */
  present(): T | undefined;
  fetchInto(workDir: string): Promise<void>;
}

/** Fetches what is not in the cache yet, one process at a time; the rest wait and find it there. */
export async function fetchOnce<T>(
  { cacheDir, onProgress }: Pick<FetchOptions, 'cacheDir' | 'onProgress'>,
  wanted: Wanted<T>,
): Promise<T> {
  mkdirSync(cacheDir, { recursive: true });
  const waiting = `Waiting for another process that is fetching a ${wanted.what} …`;
  return exclusively(
    {
      lockFile: join(cacheDir, 'fetch-lock.sqlite'),
      timeoutMs: FETCH_TIMEOUT_MS,
      onWait: () => onProgress({ kind: 'step', message: waiting }),
    },
    async () => {
      const present = wanted.present();
      if (present !== undefined) return present;
      await removeLeftovers(cacheDir);
      const workDir = mkdtempSync(join(cacheDir, 'fetching-'));
      try {
        await wanted.fetchInto(workDir);
      } finally {
        await rm(workDir, { recursive: true, force: true });
      }
      const fetched = wanted.present();
      if (fetched === undefined) {
        throw new LocalShardsError(`The fetched ${wanted.what} is not complete.`);
      }
      return fetched;
    },
  );
}

async function fetchInto(workDir: string, options: FetchOptions): Promise<void> {
  const { engine, onProgress } = options;
  const message = `Fetching ${engineName(engine)} from Debian's archive into the cache (once) …`;
  onProgress({ kind: 'step', message });
  const root = await unpackFromArchive(workDir, FETCHED[engine], options);
  const manifest = await inspect(root, engine);
  await writeFile(join(root, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
  // The rename comes last: a folder under the final name is always complete.
  await rename(root, serverDir(engine, options.cacheDir));
}

/** Downloads a package with all it needs and unpacks them, installing nothing. Returns the folder, inside `workDir`. */
export async function unpackFromArchive(
  workDir: string,
  wanted: { readonly package: string; readonly suite?: string },
  options: Pick<FetchOptions, 'sources' | 'onProgress'>,
): Promise<string> {
  const { onProgress } = options;
  const sources = options.sources ?? (await sourceLines(wanted.suite));
  const apt = createPrivateApt(join(workDir, 'apt'), sources, onProgress);
  await apt.update();
  const packages = await resolvePackages(apt, wanted.package, sources);
  const files = await apt.download(packages, `${packages.length} packages`);
  onProgress({ kind: 'step', message: `Unpacking ${files.length} packages …` });
  const root = join(workDir, 'root');
  await unpackAll(files, root);
  return root;
}

async function resolvePackages(
  apt: PrivateApt,
  name: string,
  sources: readonly string[],
): Promise<string[]> {
  const version = await apt.candidate(name);
  if (version === undefined) {
    throw new LocalShardsError(`The archive has no package ${name} (${sources.join('; ')}).`);
  }
  return apt.closure(name);
}

async function sourceLines(suite: string | undefined): Promise<string[]> {
  const architecture = await debianArchitecture();
  const keyring = existsSync(KEYRING) ? KEYRING : undefined;
  const { id, codename } = readRelease();
  // Relatives of Debian have archives of their own, with other packages.
  const own = id === 'debian' ? machineSources(codename) : [];
  const fallback = process.env['SHARDLINE_DEBIAN_MIRROR'];
  const main =
    mainArchive(own) ??
    (fallback
      ? { uri: fallback, suite: 'stable', components: ['main'], trusted: false }
      : undefined);
  if (main === undefined) {
    throw new LocalShardsError(
      "The apt sources of this machine name no Debian archive. Set SHARDLINE_DEBIAN_MIRROR to a mirror's address.",
    );
  }
  const chosen = suite === undefined ? (own.length > 0 ? own : [main]) : [{ ...main, suite }];
  return chosen.map((source) => toSourceLine(source, architecture, keyring));
}

function machineSources(codename: string): AptSource[] {
  const parts = '/etc/apt/sources.list.d';
  const files = [
    '/etc/apt/sources.list',
    ...(existsSync(parts) ? readdirSync(parts).map((file) => join(parts, file)) : []),
  ].filter((file) => existsSync(file));
  const sources = files.flatMap((file) => {
    if (file.endsWith('.list')) return parseOneLineSources(readFileSync(file, 'utf8'));
    return file.endsWith('.sources') ? parseDeb822Sources(readFileSync(file, 'utf8')) : [];
  });
  return debianSources(sources, codename);
}

async function unpackAll(files: readonly string[], root: string): Promise<void> {
  mkdirSync(root, { recursive: true });
  const queue = files.values();
  const worker = async (): Promise<void> => {
    for (const file of queue) await unpackPackage(file, root);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}

/** Finds loader and libraries of an unpacked server and proves that it runs. */
async function inspect(root: string, engine: Engine): Promise<Manifest> {
  const runtime = findRuntime(root);
  const draft = describeServer(root, { engine, version: '0.0.0', ...runtime });
  const { version } = await readServerVersion(draft.command, draft.environment);
  return { engine, version, ...runtime };
}

/** The loader and the folders of libraries among unpacked packages, relative to `root`. */
export function findRuntime(root: string): Pick<Manifest, 'loader' | 'libraryDirs'> {
  // Debian keeps libraries in one folder per architecture, in /lib before the merge into /usr.
  const libraryDirs = ['usr/lib', 'lib'].flatMap((parent) =>
    subfolders(join(root, parent))
      .filter((name) => name.includes('-linux-'))
      .map((name) => `${parent}/${name}`),
  );
  const loader = libraryDirs
    .flatMap((dir) => readdirSync(join(root, dir)).map((file) => `${dir}/${file}`))
    .find((file) => /\/ld-linux[^/]*\.so\.\d+$/.test(file));
  if (loader === undefined) throw new LocalShardsError(`No loader among the packages in ${root}.`);
  return { loader, libraryDirs };
}

function describeServer(root: string, manifest: Manifest): ServerBinary {
  const program = join(root, FETCHED[manifest.engine].program);
  const libraryDirs = manifest.libraryDirs.map((dir) => join(root, dir));
  const share = join(root, 'usr/share/mysql');
  return {
    engine: manifest.engine,
    version: manifest.version,
    program,
    command: [join(root, manifest.loader), '--library-path', libraryDirs.join(':'), program],
    locationArgs: [
      `--basedir=${join(root, 'usr')}`,
      `--lc-messages-dir=${share}`,
      `--character-sets-dir=${join(share, 'charsets')}`,
      `--plugin-dir=${join(root, 'usr/lib/mysql/plugin')}`,
    ],
    shareDirs: [share],
    // The machine's OpenSSL configuration names modules built for another OpenSSL.
    environment: { OPENSSL_CONF: '/dev/null' },
  };
}

function serverDir(engine: Engine, cacheDir: string): string {
  return join(cacheDir, `${engine}-${arch()}`);
}

async function removeLeftovers(cacheDir: string): Promise<void> {
  for (const name of subfolders(cacheDir).filter((folder) => folder.startsWith('fetching-'))) {
    await rm(join(cacheDir, name), { recursive: true, force: true });
  }
}

function subfolders(dir: string): string[] {
  if (!existsSync(dir)) return [];
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}
