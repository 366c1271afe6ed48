import { describe, expect, it } from 'vitest';
import type { SqlRow } from '../../../src/database/contracts.ts';
import { fitting, inPieces, mostRows, nextLimit } from '../../../src/rebalancing/copy.ts';
import { tableDigests } from '../../../src/rebalancing/digest.ts';
import { differences } from '../../../src/rebalancing/repair.ts';
import { deleteKeys, digestRanges, selectRows } from '../../../src/rebalancing/row-statements.ts';
import { exactLiteral, keyLiterals, keyParts } from '../../../src/rebalancing/table-shapes.ts';
import type { ColumnKind, TableShape } from '../../../src/rebalancing/table-shapes.ts';

const column = (name: string, kind: ColumnKind): TableShape['columns'][number] => ({ name, kind });

const KEYS: TableShape = {
  name: 'things',
  columns: [
    column('bucket', 'integer'),
    column('scope', 'text'),
    column('hash', 'binary'),
    column('n', 'integer'),
  ],
  key: [column('scope', 'text'), column('hash', 'binary')],
  maxRowBytes: 100,
};

describe('literals', () => {
  it.each([
    ['integer', '9223372036854775807', '9223372036854775807'],
    ['integer', -5, '-5'],
    ['decimal', '-1.50', '-1.50'],
    ['time', '2026-01-01 00:00:00.000', "'2026-01-01 00:00:00.000'"],
    ['text', "it's \\ ?", "'it\\'s \\\\ ?'"],
    ['text', '', "''"],
    ['binary', Buffer.from([0, 255]), "X'00ff'"],
    ['text', null, 'NULL'],
  ] as const)('of a %s %s', (kind, value, expected) => {
    expect(exactLiteral(column('c', kind), value)).toBe(expected);
  });

  it.each([
    ['integer', '1; DROP TABLE x'],
    ['integer', 1.5e300],
    ['integer', Number.NaN],
    ['text', 5],
    ['text', Buffer.from('a')],
    ['binary', 'a'],
    ['time', undefined],
  ] as const)('refuse for a %s what is not of the type: %s', (kind, value) => {
    expect(() => exactLiteral(column('c', kind), value)).toThrow('type');
  });

  it('of keys survive JSON', () => {
    const row: SqlRow = { scope: 'a"b', hash: Buffer.from([1, 2]), n: 1 };
    const parts = JSON.parse(JSON.stringify(keyParts(KEYS, row))) as ReturnType<typeof keyParts>;
    expect(keyLiterals(KEYS, parts)).toEqual(["'a\\\"b'", "X'0102'"]);
  });
});

describe('statements', () => {
  it('bound ranges by prefixes of the key', () => {
    expect(selectRows(KEYS, 7, ["'a'", "X'01'"], 10)).toBe(
      "SELECT scope, hash, CONCAT('(', '7', ',', QUOTE(scope), ',', IFNULL(CONCAT('X''', HEX(hash), ''''), 'NULL'), ',', IFNULL(n, 'NULL'), ')') AS row_text FROM things WHERE bucket = 7 AND ((scope > 'a') OR (scope = 'a' AND hash > X'01')) ORDER BY bucket, scope, hash LIMIT 10",
    );
    expect(digestRanges(7, [{ table: KEYS, after: null, upTo: ["'a'", "X'01'"] }])).toContain(
      "WHERE bucket = 7 AND ((scope < 'a') OR (scope = 'a' AND hash < X'01') OR (scope = 'a' AND hash = X'01'))",
    );
    expect(deleteKeys(KEYS, 7, [["'a'", "X'01'"]])).toBe(
      "DELETE FROM things WHERE bucket = 7 AND ((scope = 'a' AND hash = X'01'))",
    );
  });

  it('hash every column but the bucket', () => {
    const text = digestRanges(7, [{ table: KEYS, after: null, upTo: null }]);
    expect(text).toContain(
      "CONCAT_WS(',', IFNULL(HEX(scope), '-'), IFNULL(HEX(hash), '-'), IFNULL(n, '-'))",
    );
  });
});

const rowOf = (n: number, length = 1): SqlRow => ({
  scope: 's'.repeat(length),
  hash: Buffer.from([n]),
  row_text: `(7,'${'s'.repeat(length)}',X'0${n % 10}',${n})`,
});

describe('chunks', () => {
  it('grow while they are quick and shrink when they are slow', () => {
    expect(nextLimit(500, 5_000, 10)).toBe(1_000);
    expect(nextLimit(4_000, 5_000, 10)).toBe(5_000);
    expect(nextLimit(4_000, 5_000, 700)).toBe(4_000);
    expect(nextLimit(4_000, 5_000, 1_001)).toBe(2_000);
    expect(nextLimit(1, 5_000, 5_000)).toBe(1);
  });

  it('have fewer rows where rows may be large', () => {
    expect(mostRows({ maxRowBytes: 100 }, 5_000)).toBe(5_000);
    expect(mostRows({ maxRowBytes: 200_000 }, 5_000)).toBe(335);
    expect(mostRows({ maxRowBytes: 1e9 }, 5_000)).toBe(1);
  });

  it('are written in pieces of bounded length that have every row once', () => {
    const rows = Array.from({ length: 30 }, (_, n) => rowOf(n, 100_000));
    const pieces = [...inPieces(KEYS, rows)];
    expect(pieces.length).toBeGreaterThan(2);
    expect(pieces.reduce((sum, piece) => sum + piece.rows, 0)).toBe(30);
    expect(Math.max(...pieces.map(({ text }) => text.length))).toBeLessThan(1_100_000);
    expect(pieces.at(-1)?.last).toBe(rows.at(-1));
    expect([...inPieces(KEYS, [])]).toEqual([]);
  });

  it('are refused when the source could not write a row down', () => {
    const rows = [rowOf(1), { ...rowOf(2), row_text: null }];
    expect(() => [...inPieces(KEYS, rows)]).toThrow('did not write a row down');
  });

  it('have no more rows than make one packet', () => {
    expect(fitting(5_000, 5_000, 450_000)).toBe(5_000);
    expect(fitting(5_000, 500, 2 * 1024 * 1024)).toBe(250);
    expect(fitting(335, 10, 30_000_000)).toBe(1);
    expect(fitting(500, 0, 0)).toBe(500);
  });
});

describe('differences', () => {
  const digest = (n: number, h: string): SqlRow => ({ scope: 's', hash: Buffer.from([n]), h });
  it('are rows to write (missing, changed) and to delete', () => {
    const source = [digest(1, 'a'), digest(2, 'b'), digest(3, 'c')];
    const target = [digest(1, 'a'), digest(2, 'x'), digest(4, 'd')];
    expect(differences(KEYS, source, target)).toEqual({
      toWrite: [
        ["'s'", "X'02'"],
        ["'s'", "X'03'"],
      ],
      toDelete: [["'s'", "X'04'"]],
    });
    expect(differences(KEYS, source, source)).toEqual({ toWrite: [], toDelete: [] });
  });
});

describe('digests of tables', () => {
  it('add rows and combine words over chunks', () => {
    const part = { table: KEYS, after: null, upTo: null };
    const side = (rows: number, a: bigint, b: bigint) => ({ rows, words: [a, b] as const });
    const chunk = (rows: number, a: bigint, b: bigint) => ({
      part,
      source: side(rows, a, b),
      target: side(0, 0n, 0n),
    });
    expect(tableDigests([chunk(2, 3n, 2n ** 64n - 1n), chunk(1, 1n, 0n)])).toEqual([
      { table: 'things', rows: 3, digest: '0000000000000002ffffffffffffffff' },
    ]);
  });
});
