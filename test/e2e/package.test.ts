import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startHostProcess } from '../../local/host-process.ts';
import { developmentOnly, measure, packageProblems } from '../../tools/deploy/package-content.ts';
import { createTestDatabases, type TestDatabases } from '../support/cluster.ts';
import { createHttpClient } from '../support/http.ts';

const folder = mkdtempSync(join(tmpdir(), 'shardline-package-'));
const app = join(folder, 'app');
let databases: TestDatabases;

beforeAll(async () => {
  databases = await createTestDatabases();
  const args = ['--disable-warning=ExperimentalWarning', 'tools/package.ts', '--out', app];
  const told = execFileSync(process.execPath, args, { encoding: 'utf8' });
  console.log(told);
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await databases.drop();
});

test('the package alone serves, and writes an order to real shards', async () => {
  const host = await startHostProcess({
    port: 0,
    dataDir: join(folder, 'host'),
    app,
    settings: {
      SHARDS: JSON.stringify(databases.shards),
      AzureWebJobsStorage: databases.storageConnectionString,
      FUNCTIONS_WORKER_RUNTIME: 'node',
    },
  });
  try {
    const http = createHttpClient(host.origin);
    expect((await http.get('/api/health/live')).status).toBe(200);
    const user = { userId: '1001', email: 'packaged@example.com' };
    expect((await http.post('/api/users', user)).status).toBe(201);
    expect((await http.post('/api/users/1001/orders', { amountCents: 4999 })).status).toBe(201);
  } finally {
    await host.stop();
  }
});

test('it holds nothing that does not run, and its bill of materials names what does', () => {
  const files = measure(app);
  const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const development = developmentOnly(readFileSync('package-lock.json', 'utf8'));
  expect(development).toEqual(expect.arrayContaining(['node', 'vitest', 'azurite']));
  expect(packageProblems(files, { maxBytes: 150 * 1024 * 1024, development })).toEqual([]);
  expect(files.some(({ path }) => path.startsWith('sql/shard/0001_'))).toBe(true);
  const sbom = JSON.parse(readFileSync(`${app}.sbom.json`, 'utf8')) as {
    bomFormat: string;
    components: readonly { name: string }[];
  };
  expect(sbom.bomFormat).toBe('CycloneDX');
  const names = new Set(sbom.components.map(({ name }) => name));
  for (const name of Object.keys(manifest.dependencies)) expect(names).toContain(name);
  for (const name of ['node', 'vitest', 'azurite']) expect(names).not.toContain(name);
});

test('what does not belong, is for development, may be secret or is too much is told', () => {
  const bytes = 10;
  const problems = (paths: readonly string[], maxBytes = 1_000) =>
    packageProblems(
      paths.map((path) => ({ path, bytes })),
      { maxBytes, development: ['node', '@types/node'] },
    );
  expect(problems(['dist/src/main.js', 'node_modules/mysql2/index.js', 'host.json'])).toEqual([]);
  expect(problems(['src/main.ts'])).toHaveLength(1);
  expect(problems(['local/start.ts'])).toHaveLength(1);
  expect(problems(['node_modules/node/bin/node'])).toHaveLength(1);
  expect(problems(['node_modules/@types/node/index.d.ts'])).toHaveLength(1);
  expect(problems(['dist/src/.env'])).toHaveLength(1);
  expect(problems(['host.json'], 9)).toHaveLength(1);
});
