import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { cachedServer, fetchServer } from '../../local/shards/binaries/debian-archive.ts';
import { findServer } from '../../local/shards/binaries/find-mysqld.ts';
import type { ProgressEvent } from '../../local/shards/progress.ts';
import { makeTinyArchive } from '../support/tiny-archive.ts';

const SERVER = { 'usr/sbin/mysqld': '#!/bin/sh\n' };
/** Plays the loader: whatever it is told to run, it answers as a server of this version. */
const LOADER = {
  'usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2':
    '#!/bin/sh\necho "mysqld  Ver 9.8.7-1 for Linux on x86_64"\n',
};

let folder: string;
let cacheDir: string;
let events: ProgressEvent[];
const onProgress = (event: ProgressEvent): void => void events.push(event);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shardline-fetch-'));
  cacheDir = join(folder, 'cache');
  events = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function archiveWithServer(): string {
  return makeTinyArchive(join(folder, 'archive'), [
    { name: 'mysql-server-core', depends: 'tiny-libc', files: SERVER },
    { name: 'tiny-libc', files: LOADER },
    { name: 'unrelated', files: { 'usr/bin/unrelated': '#!/bin/sh\n' } },
  ]);
}

describe('a server fetched from an archive', () => {
  test('comes with what it depends on, runs through its own loader, and stays in the cache', async () => {
    const sources = [archiveWithServer()];
    const fetched = await fetchServer({ engine: 'mysql', cacheDir, sources, onProgress });

    expect(fetched).toMatchObject({ engine: 'mysql', version: '9.8.7' });
    expect(fetched.command[0]).toMatch(/ld-linux-x86-64\.so\.2$/);
    expect(fetched.command[1]).toBe('--library-path');
    expect(
      readdirSync(
        join(
          cacheDir,
          readdirSync(cacheDir).find((name) => name.startsWith('mysql-')) ?? '',
          'usr/sbin',
        ),
      ),
    ).toEqual(['mysqld']);
    expect(cachedServer('mysql', cacheDir)).toEqual(fetched);
    expect(cachedServer('mariadb', cacheDir)).toBeUndefined();
    expect(
      events.some((event) => event.kind === 'transfer' && event.totalBytes !== undefined),
    ).toBe(true);
  });

  test('is fetched once, however many ask at the same time', async () => {
    const options = {
      engine: 'mysql',
      cacheDir,
      sources: [archiveWithServer()],
      onProgress,
    } as const;
    const [first, second] = await Promise.all([fetchServer(options), fetchServer(options)]);
    expect(first).toEqual(second);
    const starts = events.filter(
      (event) => event.kind === 'step' && event.message.startsWith('Fetching MySQL'),
    );
    expect(starts).toHaveLength(1);
  });

  test('is not mistaken for complete when the fetch was cut off, and leftovers are removed', async () => {
    // What a killed fetch leaves: a work folder with a server but never the final name.
    const leftover = join(cacheDir, 'fetching-abc123/root/usr/sbin');
    mkdirSync(leftover, { recursive: true });
    writeFileSync(join(leftover, 'mysqld'), 'half a serv');
    expect(cachedServer('mysql', cacheDir)).toBeUndefined();

    await fetchServer({ engine: 'mysql', cacheDir, sources: [archiveWithServer()], onProgress });

    expect(readdirSync(cacheDir).filter((name) => name.startsWith('fetching-'))).toEqual([]);
  });

  test.each([
    ['has no loader', [{ name: 'mysql-server-core', files: SERVER }], /No loader/],
    [
      'does not run',
      [
        { name: 'mysql-server-core', depends: 'tiny-libc', files: SERVER },
        {
          name: 'tiny-libc',
          files: { 'usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2': '#!/bin/sh\nexit 127\n' },
        },
      ],
      /does not run/,
    ],
    ['is not in the archive', [{ name: 'unrelated', files: {} }], /no package mysql-server-core/],
  ])('that %s is refused and leaves nothing in the cache', async (_case, packages, reason) => {
    const sources = [makeTinyArchive(join(folder, 'archive'), packages)];
    const fetching = fetchServer({ engine: 'mysql', cacheDir, sources, onProgress });
    await expect(fetching).rejects.toThrow(reason);
    expect(readdirSync(cacheDir)).toEqual(['fetch-lock.sqlite']);
  });

  test('whose package file was tampered with is refused', async () => {
    const line = archiveWithServer();
    const pool = join(folder, 'archive/pool');
    for (const file of readdirSync(pool)) {
      const path = join(pool, file);
      chmodSync(path, 0o644);
      writeFileSync(path, 'x'.repeat(100));
    }
    const fetching = fetchServer({ engine: 'mysql', cacheDir, sources: [line], onProgress });
    await expect(fetching).rejects.toThrow(/failed/);
    expect(cachedServer('mysql', cacheDir)).toBeUndefined();
  });
});

describe('a server named by path', () => {
  function program(output: string): string {
    const file = join(folder, 'mysqld');
    writeFileSync(file, `#!/bin/sh\necho '${output}'\n`);
    chmodSync(file, 0o755);
    return file;
  }
  const find = (mysqld: string, engine: 'auto' | 'mysql' | 'mariadb' = 'auto') =>
    findServer({ engine, mysqld, cacheDir, onProgress });

  test('is used as it is', async () => {
    const mysqld = program('mysqld  Ver 8.4.3 for Linux on x86_64');
    expect(await find(mysqld)).toMatchObject({ version: '8.4.3', command: [mysqld] });
  });

  test('is refused when too old, of the other engine, or no server', async () => {
    const old = program('mysqld  Ver 5.7.44 for Linux on x86_64');
    await expect(find(old)).rejects.toThrow('MySQL 5.7.44 is too old; 8.0.19 or newer is needed');
    const mysql = program('mysqld  Ver 8.4.3 for Linux on x86_64');
    await expect(find(mysql, 'mariadb')).rejects.toThrow('is MySQL, but MariaDB was asked for');
    await expect(find(program('hello'))).rejects.toThrow('not a MySQL or MariaDB server');
  });
});
