import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

/** What the deployed app runs from. */
const DEPLOYED = ['dist', 'host.json', 'node_modules', 'package-lock.json', 'package.json', 'sql'];

const patterns = readFileSync('.funcignore', 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

function isIgnored(name: string): boolean {
  return patterns.some((pattern) => {
    const source = pattern
      .slice(1)
      .replaceAll('.', String.raw`\.`)
      .replaceAll('*', '[^/]*');
    return new RegExp(`^${source}$`).test(name);
  });
}

test('every pattern is anchored, so that none reaches into node_modules', () => {
  expect(patterns.filter((pattern) => !pattern.startsWith('/'))).toEqual([]);
});

test('only what runs is deployed', () => {
  const tracked = execFileSync('git', ['ls-files'], { encoding: 'utf8' }).trim().split('\n');
  const names = new Set(tracked.map((file) => file.split('/')[0] as string));
  const left = [...names].filter((name) => !isIgnored(name));
  expect(left.filter((name) => !DEPLOYED.includes(name))).toEqual([]);
  expect(DEPLOYED.filter(isIgnored)).toEqual([]);
});
