import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  loadMigrations,
  parseMigration,
  readMigrations,
  splitStatements,
} from '../../../src/database/migration-files.ts';

describe('splitStatements', () => {
  const cases: readonly (readonly [string, string, readonly string[]])[] = [
    ['two statements', 'SELECT 1; SELECT 2;', ['SELECT 1', 'SELECT 2']],
    ['a last one without a semicolon', 'SELECT 1;\nSELECT 2', ['SELECT 1', 'SELECT 2']],
    ['nothing', ' \n ; ;; -- only a comment\n', []],
    [
      'a semicolon in text',
      `INSERT INTO t VALUES (';', "a;b")`,
      [`INSERT INTO t VALUES (';', "a;b")`],
    ],
    ['a doubled quote', `SELECT 'it''s; fine'; SELECT 2`, [`SELECT 'it''s; fine'`, 'SELECT 2']],
    [
      'an escaped quote',
      String.raw`SELECT 'a\';b'; SELECT 2`,
      [String.raw`SELECT 'a\';b'`, 'SELECT 2'],
    ],
    ['a quoted name', 'SELECT `a;b`; SELECT 2', ['SELECT `a;b`', 'SELECT 2']],
    ['a comment to the end of line', 'SELECT 1 -- one; two\n, 2;', ['SELECT 1  \n, 2']],
    ['a comment of nothing but dashes', '--\nSELECT 1', ['SELECT 1']],
    ['a hash comment', 'SELECT 1 # one; two\n;SELECT 2', ['SELECT 1', 'SELECT 2']],
    ['a block comment', 'SELECT /* a;\nb */ 1; SELECT 2', ['SELECT   1', 'SELECT 2']],
    [
      'a comment for one engine',
      'SELECT 1 /*!80000 , 2 */; SELECT 2',
      ['SELECT 1 /*!80000 , 2 */', 'SELECT 2'],
    ],
    ['a hint', 'SELECT /*+ MAX_EXECUTION_TIME(1) */ 1', ['SELECT /*+ MAX_EXECUTION_TIME(1) */ 1']],
    ['two minus signs', 'SELECT 2--1; SELECT 2', ['SELECT 2--1', 'SELECT 2']],
    ['an apostrophe in a comment', "-- the user's\nSELECT 1; SELECT 2", ['SELECT 1', 'SELECT 2']],
  ];

  it.each(cases)('%s', (_, text, statements) => {
    expect(splitStatements(text)).toEqual(statements);
  });

  it('gives back the statements that were joined', () => {
    const text = fc
      .array(fc.constantFrom('a', ' ', ';', "''", '--', '#', '/*', '"', '`', '(', '\\\\'))
      .map((parts) => `'${parts.join('')}'`);
    const statement = text.map((literal) => `SELECT ${literal}`);
    fc.assert(
      fc.property(fc.array(statement), (statements) => {
        expect(splitStatements(statements.join(';\n-- a comment; of two parts\n'))).toEqual(
          statements,
        );
      }),
    );
  });
});

describe('parseMigration', () => {
  it('reads number, name and statements', () => {
    expect(parseMigration('0012_add_things.sql', 'SELECT 1;')).toMatchObject({
      version: 12,
      name: '0012_add_things',
      statements: ['SELECT 1'],
      checksum: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  it('takes a checkout with CRLF as the same file, and any other change as another', () => {
    const checksum = (text: string): string => parseMigration('0001_a.sql', text).checksum;
    expect(checksum('SELECT 1;\r\n')).toBe(checksum('SELECT 1;\n'));
    expect(checksum('SELECT 1; \n')).not.toBe(checksum('SELECT 1;\n'));
  });

  it.each(['1_a.sql', '0001.sql', '0001-a.sql', '0001_A.sql', 'x0001_a.sql'])(
    'refuses the name %s',
    (name) => {
      expect(() => parseMigration(name, '')).toThrow('NNNN_name.sql');
    },
  );
});

describe('readMigrations', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'migrations-'));
  });

  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('reads in order and leaves other files alone', async () => {
    for (const name of ['0002_b.sql', '0001_a.sql', 'README.md']) {
      await writeFile(join(folder, name), 'SELECT 1');
    }
    expect((await readMigrations(folder)).map((file) => file.name)).toEqual(['0001_a', '0002_b']);
  });

  it.each([
    ['a gap', ['0001_a.sql', '0003_c.sql']],
    ['a number twice', ['0001_a.sql', '0001_b.sql']],
    ['a start other than 1', ['0002_b.sql']],
  ])('refuses %s', async (_, names) => {
    for (const name of names) await writeFile(join(folder, name), 'SELECT 1');
    await expect(readMigrations(folder)).rejects.toMatchObject({ code: 'internal' });
  });
});

describe('the migrations of this build', () => {
  it('are found and hold statements', async () => {
    const files = await loadMigrations();
    expect(files[0]?.name).toBe('0001_initial');
    for (const file of files) expect(file.statements.length).toBeGreaterThan(0);
  });
});
