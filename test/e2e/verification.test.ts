import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { bucketOf } from '../../src/sharding/hash.ts';
import { verificationSchema, type Verification } from '../../src/verification/model.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectGreen, verifyCluster } from '../support/verify.ts';

let app: TestApp;
let key: string;
beforeAll(async () => {
  app = await startTestApp({
    auth: true,
    settings: { VERIFY_GRACE_MS: '200', VERIFY_DEADLINE_MS: '1000' },
  });
  // Where the local host keeps those that it made for this test.
  const keys = await readFile(path.join(app.dataDir, 'keys.json'), 'utf8');
  key = z.object({ master: z.string() }).parse(JSON.parse(keys)).master;
});
afterEach(() => app.databases.recover());
afterAll(() => app.stop());

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command as a user does. */
function verify(...args: readonly string[]): Promise<Ended> {
  const command = ['--disable-warning=ExperimentalWarning', 'tools/verify.ts'];
  const child = spawn(process.execPath, [...command, '--url', app.http.origin, ...args]);
  const ended = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => (ended.stdout += String(chunk)));
  child.stderr.on('data', (chunk) => (ended.stderr += String(chunk)));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ code, ...ended });
    });
  });
}

const asJson = ({ stdout }: Ended): Verification => verificationSchema.parse(JSON.parse(stdout));

test('what the app has written is as it must be', async () => {
  const headers = { 'x-functions-key': key };
  let cents = 0;
  for (let user = 40_000; user < 40_030; user += 1) {
    const email = `u${user}@example.com`;
    const registered = await app.http.post('/api/users', { userId: `${user}`, email }, headers);
    expect(registered.status).toBe(201);
    const order = { amountCents: user };
    const placed = await app.http.post(`/api/users/${user}/orders`, order, headers);
    expect(placed.status).toBe(201);
    cents += user;
  }
  for (let user = 40_000; user < 40_010; user += 1) {
    const change = { email: `new${user}@example.com` };
    const changed = await app.http.put(`/api/users/${user}/email`, change, headers);
    expect(changed.status).toBe(200);
  }
  const result = await verifyCluster(app, { key });
  expectGreen(result);
  expect(result.figures).toMatchObject({
    users: 30,
    emailsConfirmed: 30,
    emailsReleased: 10,
    ordersVisible: 30,
    visibleCents: String(cents),
    sagasUnfinished: 0,
  });
});

test('the command shows it, and joins a verification that runs', async () => {
  const [shown, json] = await Promise.all([verify('--key', key), verify('--key', key, '--json')]);
  expect(shown.stdout).toContain('Everything is as it must be');
  expect([shown.code, json.code]).toEqual([0, 0]);
  expect(asJson(json)).toMatchObject({ status: 'completed', ok: true });
});

test('the command asks for the key it lacks', async () => {
  const { code, stdout, stderr } = await verify();
  expect(code).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toContain('SHARDLINE_ADMIN_KEY');
});

test('a violation ends the command with 1, and is shown', async () => {
  const bucket = bucketOf('40000');
  await app.sql(bucket % 3, 'DELETE FROM users WHERE bucket = ? AND user_id = 40000', [bucket]);
  const { code, stdout } = await verify('--key', key);
  expect(code).toBe(1);
  expect(stdout).toContain('user-missing: orders');
  expect(stdout).toContain('confirmed-without-user: email_directory');
});

test('a shard that is away ends the command with 2, and is named', async () => {
  await app.stopShard(2);
  const ended = await verify('--key', key, '--json');
  expect(ended.code).toBe(2);
  expect(asJson(ended)).toMatchObject({ status: 'failed', ok: false });
  expect(asJson(ended).figures).toBeUndefined();
  expect(asJson(ended).failure?.message).toContain('shard 2 ');
});
