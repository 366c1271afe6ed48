import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { removeAfterTests, spawnCli, spawnHost, temporaryFolder } from './support/spawn-host.ts';

const REPOSITORY = join(import.meta.dirname, '..', '..');

/** Writes an app below the tests, where it finds the repository's libraries by walking up. */
function makeApp(name: string, files: Readonly<Record<string, string>>): string {
  const folder = join(REPOSITORY, '.shardline', 'test-apps', `${name}-${process.pid}`);
  mkdirSync(folder, { recursive: true });
  removeAfterTests(folder);
  const all = {
    'package.json': '{ "main": "*.js", "type": "commonjs" }',
    'host.json': '{ "version": "2.0" }',
    ...files,
  };
  for (const [file, text] of Object.entries(all)) writeFileSync(join(folder, file), text);
  return folder;
}

async function refusal(
  app: string,
  options: { env?: Record<string, string>; args?: string[] } = {},
) {
  const child = spawnCli({ app, ...options });
  expect(await child.ended).toBe(1);
  expect(child.output()).not.toContain('Host ready');
  return child.output();
}

describe('one host for one data folder', () => {
  test('a second host is refused by name until the first is gone, kill -9 included', async () => {
    const first = await spawnHost({ app: 'cjs-app' });
    const second = spawnCli({ app: 'esm-app', dataDir: first.dataDir });
    expect(await second.ended).toBe(1);
    expect(second.output()).toContain(
      `is in use by another host (process ${first.process.pid} on ${first.origin})`,
    );
    expect(second.output()).toContain('--data');
    expect((await first.fetch('/api/echo')).status).toBe(200);

    await first.signal('SIGKILL');
    const third = await spawnHost({ app: 'cjs-app', dataDir: first.dataDir });
    expect((await third.fetch('/api/echo')).status).toBe(200);
  });
});

describe('stopping', () => {
  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s lets running functions finish, then runs appTerminate hooks',
    async (signal) => {
      const host = await spawnHost({ app: 'cjs-app' });
      const running = host.fetch('/api/slow?ms=700');
      await host.waitFor(/slow begins 700/);
      const ended = host.signal(signal);
      const response = await running;
      expect([response.status, await response.text()]).toEqual([200, 'done']);
      expect(await ended).toBe(0);
      expect(host.output()).toMatch(/slow ends[\s\S]*hook appTerminate/);
      await expect(host.fetch('/api/echo')).rejects.toThrow('fetch failed');
    },
  );

  test('a second signal ends the host at once', async () => {
    const host = await spawnHost({ app: 'cjs-app' });
    host.fetch('/api/slow?ms=9000').catch(() => undefined);
    await host.waitFor(/slow begins/);
    host.process.kill('SIGINT');
    await host.waitFor(/host stopping/);
    expect(await host.signal('SIGINT')).toBe(1);
  });

  test('an error nobody caught ends the host with its stack', async () => {
    const host = await spawnHost({ app: 'cjs-app' });
    await host.fetch('/api/stray');
    expect(await host.ended).toBe(1);
    expect(host.output()).toMatch(/error nobody caught[\s\S]*nobody caught this/);
  });

  test('a function past functionTimeout fails', async () => {
    const env = { AzureFunctionsJobHost__functionTimeout: '00:00:01' };
    const host = await spawnHost({ app: 'cjs-app', env });
    expect((await host.fetch('/api/slow?ms=3000')).status).toBe(500);
    await host.waitFor(/Timeout value of 00:00:01 was exceeded by function: slow/);
  });
});

describe('refusing to start', () => {
  test('an unsupported trigger is named, with every other problem', async () => {
    const app = makeApp('unsupported', {
      'main.js': `const { app } = require('@azure/functions');
        app.serviceBusQueue('bus', { queueName: 'q', connection: 'c', handler() {} });
        app.storageQueue('named', { queueName: '%NOT_SET%', connection: 'c', handler() {} });`,
    });
    const output = await refusal(app);
    expect(output).toContain('"bus" has the trigger type "serviceBusTrigger"');
    expect(output).toContain('"named" refers to %NOT_SET%');
    const disabled = {
      'AzureWebJobs.bus.Disabled': 'true',
      NOT_SET: 'q',
      c: 'UseDevelopmentStorage=true',
    };
    const host = await spawnHost({ app, env: disabled });
    expect(host.output()).toMatch(/bus: serviceBusTrigger.*\(disabled\)/);
  });

  test('load errors, missing files and an app without functions say what to do', async () => {
    const broken = makeApp('broken', { 'main.js': 'require("./nowhere")' });
    expect(await refusal(broken)).toMatch(
      /unable to load entry point ".*main\.js": Cannot find module/,
    );
    expect(await refusal(makeApp('empty', { 'main.js': '' }))).toContain('registered no functions');
    const unbuilt = makeApp('unbuilt', { 'package.json': '{ "main": "dist/*.js" }' });
    expect(await refusal(unbuilt)).toMatch(
      /zero files for "main": "dist\/\*\.js".*Is the app built/,
    );
    expect(await refusal(temporaryFolder())).toMatch(/host\.json is missing|No package\.json/);
    const hook = makeApp('hook', {
      'main.js': `const { app } = require('@azure/functions');
        app.timer('t', { schedule: '0 0 0 1 1 *', handler() {} });
        app.hook.appStart(() => { throw new Error('no licence'); });`,
    });
    expect(await refusal(hook)).toContain('An appStart hook failed: no licence');
  });

  test('a queue without its connection names the setting', async () => {
    const output = await refusal('queue-app', { env: { COLLECT_QUEUE: 'c' } });
    expect(output).toContain('The storage connection "Orders" is not set');
  });

  test('a port in use, unknown options and wrong values are refused', async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
    const { port } = blocker.address() as AddressInfo;
    expect(await refusal('cjs-app', { args: ['--port', String(port)] })).toContain(
      `Port ${port} on 127.0.0.1 is in use`,
    );
    blocker.close();
    expect(await refusal('cjs-app', { args: ['--colour'] })).toContain("Unknown option '--colour'");
    expect(await refusal('cjs-app', { args: ['--port', '70000'] })).toContain('from 0 to 65535');
    expect(await refusal('cjs-app', { args: ['--settings', '/no/such.json'] })).toContain(
      'does not exist',
    );
  });
});

describe('settings', () => {
  test('Values reach the app unless the environment has them; the app knows where it runs', async () => {
    const app = makeApp('settings', {
      'main.js': `const { app } = require('@azure/functions');
        app.http('env', { authLevel: 'anonymous', handler: (request) => ({
          jsonBody: Object.fromEntries([...request.query.keys()].map((name) => [name, process.env[name]])) }) });`,
    });
    const settings = join(temporaryFolder(), 'local.settings.json');
    writeFileSync(
      settings,
      JSON.stringify({ IsEncrypted: false, Values: { FIRST: 'file', SECOND: 'file', COUNT: 5 } }),
    );
    const host = await spawnHost({
      app,
      args: ['--settings', settings],
      env: { SECOND: 'environment' },
    });
    const names = ['FIRST', 'SECOND', 'COUNT', 'WEBSITE_HOSTNAME', 'AZURE_FUNCTIONS_ENVIRONMENT'];
    const response = await host.fetch(`/api/env?${names.map((name) => `${name}=`).join('&')}`);
    expect(await response.json()).toEqual({
      FIRST: 'file',
      SECOND: 'environment',
      COUNT: '5',
      WEBSITE_HOSTNAME: new URL(host.origin).host,
      AZURE_FUNCTIONS_ENVIRONMENT: 'Development',
    });
  });

  test('--help explains and does not start anything', async () => {
    const child = spawnCli({ app: 'cjs-app', args: ['--help'] });
    expect(await child.ended).toBe(0);
    expect(child.output()).toContain('--settings FILE');
  });
});
