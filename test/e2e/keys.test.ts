import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ auth: true });
});
afterAll(() => app.stop());

test('health is open, business routes ask for a key, operations for the master key', async () => {
  expect((await app.http.get('/api/health/live')).status).toBe(200);
  for (const path of ['/api/users/1', '/api/revenue', '/api/ops/bucket-map']) {
    const without = await app.http.get(path);
    const wrong = await app.http.get(path, { 'x-functions-key': 'wrong' });
    expect([path, without.status, wrong.status]).toEqual([path, 401, 401]);
    expect(without.json['code']).toBe('unauthorized');
  }
});

test('the sample settings hold no key or password of value', async () => {
  const sample = await readFile('local.settings.sample.json', 'utf8');
  expect(sample).not.toMatch(/AccountKey/);
});
