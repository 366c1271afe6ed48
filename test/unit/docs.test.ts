import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';

const documents = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync('docs', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => path.join('docs', name)),
];

/** Paths in backticks that begin like one of ours. */
const NAMED = /`((?:src|local|test|sql|docs|examples|bench|infra)\/[\w./-]+)`/g;
const LINKED = /\]\((?!https?:|#)([^)#]+)/g;

describe('documents name what is there', () => {
  test.each(documents)('%s', (document) => {
    const text = readFileSync(document, 'utf8');
    const named = [...text.matchAll(NAMED)].map((match) => match[1] as string);
    const linked = [...text.matchAll(LINKED)].map((match) =>
      path.join(path.dirname(document), match[1] as string),
    );
    // A pattern (`NNNN_name.sql`) is no path.
    const missing = [...named, ...linked].filter(
      (name) => !name.includes('NNNN') && !existsSync(name),
    );
    expect(missing).toEqual([]);
  });
});
