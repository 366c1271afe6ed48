import { globSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { readHostJson, readHostSettings } from '../../../local/host/app/host-json.ts';
import { loadConfig, SETTING_NAMES } from '../../../src/config.ts';
import { keysOf } from '../../../tools/bicep/model.ts';
import { createBicepParser, visit, type BicepNode } from '../../../tools/bicep/parse.ts';
import { readFunctions } from '../../../tools/plan/skus.ts';

const parse = await createBicepParser();
const text = readFileSync('infra/main.bicep', 'utf8');
const root = parse(text);

/** The value of the first property of that name, anywhere in the file. */
function valueOf(name: string): BicepNode {
  let found: BicepNode | undefined;
  visit(root, (node) => {
    if (node.type === 'object_property' && node.firstNamedChild?.text === name) {
      found ??= node.namedChildren.at(-1);
    }
  });
  if (found === undefined) throw new Error(`main.bicep has no ${name}`);
  return found;
}

const set = keysOf(valueOf('settings'));
const lists = z
  .strictObject({
    defaulted: z.array(z.string()),
    localOnly: z.array(z.string()),
    readByThePlatform: z.array(z.string()),
  })
  .parse(JSON.parse(readFileSync('infra/app-settings.json', 'utf8')));

describe('app settings', () => {
  test('each setting that the code reads is set, or listed as left at its default', () => {
    const settled = [...set, ...lists.defaulted, ...lists.localOnly];
    expect(SETTING_NAMES.filter((name) => !settled.includes(name))).toEqual([]);
  });

  test('each one that is set is read, by the code or by the platform', () => {
    const readers = [...SETTING_NAMES, ...lists.readByThePlatform];
    expect(set.filter((name) => !readers.includes(name))).toEqual([]);
  });

  test('the lists hold nothing else, and nothing twice', () => {
    const left = [...lists.defaulted, ...lists.localOnly];
    expect(left.filter((name) => !SETTING_NAMES.includes(name))).toEqual([]);
    expect(left.filter((name) => set.includes(name))).toEqual([]);
    expect(lists.readByThePlatform.filter((name) => !set.includes(name))).toEqual([]);
    expect(new Set(left).size).toBe(left.length);
  });

  test('none is set that Flex Consumption refuses', () => {
    const refused =
      /^(FUNCTIONS_|WEBSITE_|SCM_DO_BUILD|ENABLE_ORYX|TZ$|AzureWebJobsStorage$|.*(PASSWORD|KEY)$)/;
    expect(set.filter((name) => refused.test(name))).toEqual([]);
  });

  test('both halves of a managed identity are given', () => {
    expect(set).toEqual(
      expect.arrayContaining(['AzureWebJobsStorage__credential', 'AzureWebJobsStorage__clientId']),
    );
  });

  test('the list of shards, as Bicep makes it, is one that the app takes', () => {
    const shards = root.namedChildren.find((node) => node.text.startsWith('var shardSettings'));
    const fields = Object.fromEntries(
      [...(shards?.text ?? '').matchAll(/^ {2}(\w+): (.*)$/gm)].map(([, key, value]) => [
        key,
        value?.startsWith("'") ? value.slice(1, -1).replaceAll(/\$\{[^}]*\}+/g, '0') : 'text',
      ]),
    );
    const { SHARDS } = loadConfig({
      SHARDS: JSON.stringify([fields]),
      AzureWebJobsStorage__blobServiceUri: 'https://a.blob.core.windows.net/',
      AzureWebJobsStorage__queueServiceUri: 'https://a.queue.core.windows.net/',
    });
    expect(SHARDS).toMatchObject([{ name: 'shard-0', auth: 'entra', ssl: 'required' }]);
    expect(SHARDS[0]?.password).toBeUndefined();
    // Where the app's user has a password: the same with two fields more, from the vault.
    expect(valueOf('SHARDS').text).toBe(
      "appByPassword ? '@Microsoft.KeyVault(SecretUri=${vault.outputs.shardsSecretUri})' : string(shardSettings)",
    );
    const byPassword =
      /union\(shardSettings\[i\], \{\n {2}auth: '(\w+)'\n {2}password: appPassword\n\}\)/;
    const auth = byPassword.exec(text)?.[1];
    const { SHARDS: named } = loadConfig({
      SHARDS: JSON.stringify([{ ...fields, auth, password: 'from the vault' }]),
      AzureWebJobsStorage__blobServiceUri: 'https://a.blob.core.windows.net/',
      AzureWebJobsStorage__queueServiceUri: 'https://a.queue.core.windows.net/',
    });
    expect(named).toMatchObject([{ auth: 'password', password: 'from the vault' }]);
  });
});

describe('the durable backend', () => {
  const overrides = Object.fromEntries(
    [...text.matchAll(/^\s*(AzureFunctionsJobHost__\w+): '([^']*)'/gm)].map(([, name, value]) => [
      name as string,
      value as string,
    ]),
  );
  const hostJson = z.object({
    extensions: z.object({
      durableTask: z.looseObject({
        hubName: z.string(),
        storageProvider: z.record(z.string(), z.unknown()),
      }),
    }),
  });

  test('is the storage account in host.json, which names no type', () => {
    const { storageProvider } = hostJson.parse(readHostJson('.', {})).extensions.durableTask;
    expect(storageProvider).not.toHaveProperty('type');
    expect(storageProvider).not.toHaveProperty('connectionStringName');
  });

  test('becomes the Durable Task Scheduler by settings alone', () => {
    const merged = hostJson.parse(readHostJson('.', overrides)).extensions.durableTask;
    expect(merged.storageProvider).toMatchObject({
      type: 'azureManaged',
      connectionStringName: 'DTS_CONNECTION_STRING',
    });
    expect(set).toContain(merged.storageProvider['connectionStringName']);
    expect(valueOf('hubName').text).toBe(`'${merged.hubName}'`);
  });

  test('leaves all else as the local host reads it', () => {
    expect(readHostSettings('.', overrides)).toEqual(readHostSettings('.', {}));
  });
});

test('functions.json names the queue and timer functions that the app registers', () => {
  const registered = (kind: string): string[] =>
    globSync('src/**/*.ts').flatMap((file) =>
      [...readFileSync(file, 'utf8').matchAll(new RegExp(`\\.${kind}\\(\\s*'([^']+)'`, 'g'))].map(
        (match) => match[1] as string,
      ),
    );
  expect(readFunctions()).toEqual({
    queues: registered('storageQueue').toSorted(),
    timers: registered('timer').toSorted(),
  });
});

test('always-ready names are those of Flex, or a function that is there', () => {
  const names = [...(/var readyNames = \[([^\]]*)\]/.exec(text)?.[1] ?? '').matchAll(/'([^']+)'/g)];
  const allowed = ['http', 'durable', ...readFunctions().queues.map((name) => `function:${name}`)];
  expect(names.map((match) => match[1]).filter((name) => !allowed.includes(name ?? ''))).toEqual(
    [],
  );
  expect(names).toHaveLength(3);
});

test('the queues and containers of the account are those that the app uses', () => {
  const storage = readFileSync('infra/app/storage.bicep', 'utf8');
  const items = (name: string): string[] =>
    [
      ...(new RegExp(`var ${name} = \\[([^\\]]*)\\]`).exec(storage)?.[1] ?? '').matchAll(
        /'([^']+)'/g,
      ),
    ].map((match) => match[1] as string);
  const contract = readFileSync('src/storage/contracts.ts', 'utf8');
  const own = [
    ...(/type ContainerName =([^;]*);/.exec(contract)?.[1] ?? '').matchAll(/'([^']+)'/g),
  ];
  expect(items('containers')).toEqual(['app-package', ...own.map((match) => match[1])]);
  const queues = globSync('src/**/*.ts')
    .flatMap((file) => [
      ...readFileSync(file, 'utf8').matchAll(/\b\w*_?QUEUE(?:: \w+)? = '(\w+)'/g),
    ])
    .map((match) => match[1] as string);
  expect(items('queues').toSorted()).toEqual(
    queues.flatMap((name) => [name, `${name}-poison`]).toSorted(),
  );
});
