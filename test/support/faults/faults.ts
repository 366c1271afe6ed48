import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { until } from '../http.ts';
import { type Fault, FOLDERS, type Hit, hit, HITS_FILE, type Token } from './plan.ts';

/** Faults of one app under test; pass it to `startTestApp`. */
export interface Faults {
  /** Where the app looks for them. */
  readonly folder: string;
  /** Folder of an app that is this repository's, but for its probe. */
  readonly app: string;
  /** Plans a fault; its id names it in {@link hits} and {@link release}. In force when this returns. */
  arm(fault: Fault): string;
  /** Takes back what has not happened of a fault. */
  disarm(id: string): void;
  /** Lets go what a `pause` of this id holds, now or later. */
  release(id: string): void;
  /** What happened so far, in order. */
  hits(id?: string): readonly Hit[];
  /** Waits until the fault happened `times` times. */
  happened(id: string, times?: number): Promise<readonly Hit[]>;
  remove(): Promise<void>;
}

/** Longer than anything a test waits for: a restart of the host, its recovery, and a busy machine. */
const HAPPEN_TIMEOUT_MS = 90_000;

export function createFaults(): Faults {
  const root = mkdtempSync(path.join(tmpdir(), 'shardline-faults-'));
  const folder = path.join(root, 'plan');
  for (const name of Object.values(FOLDERS))
    mkdirSync(path.join(folder, name), { recursive: true });
  let count = 0;
  const hits = (id?: string): readonly Hit[] =>
    readHits(path.join(folder, HITS_FILE)).filter((entry) => id === undefined || entry.id === id);
  return {
    folder,
    app: writeApp(path.join(root, 'app')),
    arm: (fault) => {
      count += 1;
      const id = String(count).padStart(5, '0');
      writeTokens(folder, id, fault);
      return id;
    },
    disarm: (id) => {
      const armed = path.join(folder, FOLDERS.armed);
      for (const name of readdirSync(armed).filter((file) => file.startsWith(`${id}.`))) {
        rmSync(path.join(armed, name), { force: true });
      }
    },
    release: (id) => writeFileSync(path.join(folder, FOLDERS.released, id), ''),
    hits,
    happened: (id, times = 1) =>
      until(
        () => Promise.resolve(hits(id)),
        (seen) => seen.length >= times,
        { timeoutMs: HAPPEN_TIMEOUT_MS, everyMs: 30 },
      ),
    remove: () => rm(root, { recursive: true, force: true }),
  };
}

/** One file per time it is to happen, each complete when it comes in sight. */
function writeTokens(folder: string, id: string, fault: Fault): void {
  const { point, subject, action, times = action === 'note' ? 'always' : 1, code } = fault;
  const isPattern = subject instanceof RegExp;
  const entry: Token = {
    id,
    point,
    subject: isPattern ? subject.source : subject,
    isPattern,
    action,
    isLasting: times === 'always',
    ...(code === undefined ? {} : { code }),
  };
  for (let index = 0; index < (times === 'always' ? 1 : times); index += 1) {
    const name = `${id}.${index}.json`;
    const draft = path.join(folder, name);
    writeFileSync(draft, JSON.stringify(entry));
    renameSync(draft, path.join(folder, FOLDERS.armed, name));
  }
}

/** A line that is still being written is left for the next look. */
function readHits(file: string): Hit[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => hit.parse(JSON.parse(line)));
}

/** The settings of host.json are the product's own; only the entry differs. */
function writeApp(app: string): string {
  const repository = path.resolve(import.meta.dirname, '..', '..', '..');
  const entry = pathToFileURL(path.join(import.meta.dirname, 'app-child.ts')).href;
  mkdirSync(app, { recursive: true });
  writeFileSync(path.join(app, 'host.json'), readFileSync(path.join(repository, 'host.json')));
  writeFileSync(
    path.join(app, 'package.json'),
    JSON.stringify({ name: 'shardline-with-faults', type: 'module', main: 'main.js' }),
  );
  writeFileSync(path.join(app, 'main.js'), `import ${JSON.stringify(entry)};\n`);
  return app;
}
