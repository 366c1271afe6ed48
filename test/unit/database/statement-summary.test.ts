import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { summaryOf } from '../../../src/database/statement-summary.ts';

test.each([
  ['INSERT INTO orders (bucket) SELECT ?', 'INSERT orders'],
  ['select 1 from `users` where email = ?', 'SELECT users'],
  ['UPDATE bucket_ownership SET state = ?', 'UPDATE bucket_ownership'],
  ['COMMIT', 'COMMIT'],
  ['  (SELECT 1)', 'SELECT'],
  ['', 'OTHER'],
  ['START TRANSACTION', 'START'],
  ['START TRANSACTION;\nINSERT INTO orders VALUES (1);\nCOMMIT', 'PACKET'],
])('%s', (text, name) => {
  expect(summaryOf(text).name).toBe(name);
});

test('a value that looks like a table is not told', () => {
  const text = `SELECT 'sent from secretplace' AS note FROM orders`;
  expect(summaryOf(text)).toMatchObject({ table: 'orders' });
  expect(summaryOf(`SELECT 'from ada@example.com'`).table).toBeUndefined();
});

test('texts of any length and number do not fill the memory', () => {
  for (let n = 0; n < 2_000; n++) summaryOf(`SELECT ${n} FROM orders`);
  expect(summaryOf(`SELECT ${'x'.repeat(100_000)} FROM orders`)).toMatchObject({
    operation: 'SELECT',
    table: undefined,
  });
});

test('every statement of the app has an operation', () => {
  const files = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('statements.ts'),
  );
  expect(files.length).toBeGreaterThan(10);
  for (const file of files) {
    const source = readFileSync(path.join('src', file), 'utf8');
    for (const [, text = ''] of source.matchAll(/export const [A-Z_]+ =\s*`([^`$]+)`/g)) {
      expect(summaryOf(text).operation, `${file}: ${text.slice(0, 60)}`).toMatch(/^[A-Z]+$/);
      expect(summaryOf(text).operation).not.toBe('OTHER');
    }
  }
});
