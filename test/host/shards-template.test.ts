import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ServerBinary } from '../../local/shards/binaries/server-binary.ts';
import { makeDataDir } from '../../local/shards/servers/data-template.ts';

/** Plays a server that makes its data folder, and notes each time it does. */
const PROGRAM = `#!/bin/sh
for each in "$@"; do case "$each" in --datadir=*) data="\${each#--datadir=}";; esac; done
echo made >> "$0.made"
mkdir "$data/mysql"
echo tables > "$data/mysql/user.ibd"
echo its own > "$data/auto.cnf"
echo its own > "$data/server-key.pem"
`;

let folder: string;
let program: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shardline-template-'));
  program = join(folder, 'mysqld');
  writeProgram(PROGRAM);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function writeProgram(text: string): void {
  writeFileSync(program, text);
  chmodSync(program, 0o755);
}

/** Makes the data folder of one server and gives its path. */
async function make(
  server: string,
  { version = '9.9.9', cacheDir = join(folder, 'cache') } = {},
): Promise<string> {
  const binary: ServerBinary = {
    engine: 'mysql',
    version,
    program,
    command: [program],
    locationArgs: [],
    shareDirs: [],
    environment: {},
  };
  mkdirSync(join(folder, server), { recursive: true });
  const dataDir = join(folder, server, 'data');
  await makeDataDir({ binary, dataDir, logFile: join(folder, server, 'log'), cacheDir });
  return dataDir;
}

function timesMade(): number {
  return readFileSync(`${program}.made`, 'utf8').split('\n').length - 1;
}

function templates(): string[] {
  return readdirSync(join(folder, 'cache/templates'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
}

test('servers that start together are made once, and share neither id nor keys nor files', async () => {
  const made = await Promise.all(['a', 'b', 'c'].map((server) => make(server)));
  expect(timesMade()).toBe(1);
  for (const dataDir of made) {
    expect(readdirSync(dataDir)).toEqual(['mysql']);
    expect(readFileSync(join(dataDir, 'mysql/user.ibd'), 'utf8')).toBe('tables\n');
  }
  writeFileSync(join(made[0] ?? '', 'mysql/user.ibd'), 'changed');
  const later = await make('d');
  expect(timesMade()).toBe(1);
  expect(readFileSync(join(later, 'mysql/user.ibd'), 'utf8')).toBe('tables\n');
});

test('another version or build makes its own template, in place of the former', async () => {
  await make('a');
  await make('b', { version: '9.9.10' });
  expect(timesMade()).toBe(2);
  writeProgram(`${PROGRAM}# another build`);
  await make('c', { version: '9.9.10' });
  expect(timesMade()).toBe(3);
  expect(templates()).toEqual([expect.stringMatching(/^mysql-data-9\.9\.10-/)]);
});

test('a template of which a file is missing is made again', async () => {
  await make('a');
  const [template = ''] = templates();
  rmSync(join(folder, 'cache/templates', template, 'mysql/user.ibd'));
  expect(readdirSync(join(await make('b'), 'mysql'))).toEqual(['user.ibd']);
  expect(timesMade()).toBe(2);
});

test('what a starter left that was killed while it made one is not taken for a template', async () => {
  const half = join(folder, 'cache/templates/mysql-making/data');
  mkdirSync(half, { recursive: true });
  writeFileSync(join(half, 'half'), '');
  mkdirSync(join(folder, 'a/data.copy'), { recursive: true });
  writeFileSync(join(folder, 'a/data.copy/half'), '');
  expect(readdirSync(await make('a'))).toEqual(['mysql']);
  expect(templates()).toHaveLength(1);
});

test('a server that cannot make one says why, and leaves neither folder nor template', async () => {
  writeProgram('#!/bin/sh\necho no room for tables\nexit 1\n');
  await expect(make('a')).rejects.toThrow(/no room for tables/);
  expect(existsSync(join(folder, 'a/data'))).toBe(false);
  expect(templates().filter((name) => name.startsWith('mysql-data-'))).toEqual([]);
});

test('where the cache cannot be written to, each server is made in its place', async () => {
  const cacheDir = join(program, 'no folder');
  const made = [await make('a', { cacheDir }), await make('b', { cacheDir })];
  expect(timesMade()).toBe(2);
  for (const dataDir of made) expect(existsSync(join(dataDir, 'auto.cnf'))).toBe(true);
});
