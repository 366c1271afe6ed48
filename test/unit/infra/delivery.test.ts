import { existsSync, globSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';

const steps = z.looseObject({
  steps: z
    .array(z.looseObject({ uses: z.string().optional(), run: z.string().optional() }))
    .optional(),
  uses: z.string().optional(),
  'timeout-minutes': z.number().optional(),
});
const workflow = z.looseObject({
  name: z.string(),
  on: z.unknown(),
  permissions: z.record(z.string(), z.enum(['read', 'write', 'none'])),
  jobs: z.record(z.string(), steps),
});
const hook = z.object({
  shell: z.enum(['sh', 'pwsh']),
  run: z.string(),
  secrets: z.record(z.string(), z.string()),
});
const project = z.looseObject({
  name: z.string(),
  infra: z.object({ provider: z.literal('bicep'), path: z.string() }),
  services: z.record(
    z.string(),
    z.looseObject({ host: z.literal('function'), project: z.string() }),
  ),
  hooks: z.record(z.string(), hook),
  pipeline: z.object({ variables: z.array(z.string()) }),
});

const read = (file: string): string => readFileSync(file, 'utf8');
const azure = project.parse(parse(read('azure.yaml')));
const parameterVariables = [...read('infra/main.parameters.json').matchAll(/\$\{([A-Z_]+)/g)].map(
  (match) => match[1] as string,
);
/** Given by azd or GitHub themselves, or by the workflow as its own. */
const BUILT_IN = /^(AZURE_\w+|GITHUB_REPOSITORY)$/;

describe('azure.yaml', () => {
  test('has the service that the app is tagged with', () => {
    expect(read('infra/app/function-app.bicep')).toContain(
      `'azd-service-name': '${Object.keys(azure.services).join()}'`,
    );
  });

  test('hands every variable of the parameters on to a pipeline: others are lost there', () => {
    const needed = parameterVariables.filter((name) => !BUILT_IN.test(name));
    expect(azure.pipeline.variables.toSorted()).toEqual(needed.toSorted());
  });

  test('has secrets read for the hooks that look for them, under the same name', () => {
    const looked = (script: string): string[] =>
      [...read(script).matchAll(/secretIn\(env, '([A-Z_]+)'|'(\w+_PASSWORD)'\)/g)].map(
        (match) => (match[1] ?? match[2]) as string,
      );
    const given = (name: string): [string, string][] =>
      Object.entries(azure.hooks[name]?.secrets ?? {});
    const same = (names: readonly string[]) =>
      [...new Set(names)].toSorted().map((name) => [name, name]);
    expect(given('preprovision')).toEqual(same(looked('tools/deploy/profile-checks.ts')));
    expect(given('postprovision')).toEqual(same(looked('tools/deploy/postprovision.ts')));
  });

  test('runs hooks that are there', () => {
    const scripts = Object.values(azure.hooks).flatMap(
      ({ run }) => run.match(/tools\/\S+\.ts/g) ?? [],
    );
    expect(scripts).toEqual(['tools/deploy/preprovision.ts', 'tools/deploy/postprovision.ts']);
    expect(scripts.filter((name) => !existsSync(name))).toEqual([]);
  });
});

describe.each(globSync('.github/workflows/*.yml'))('%s', (file) => {
  const text = read(file);
  const parsed = workflow.parse(parse(text));

  test('holds no secret', () => {
    // The name of a variable that holds a reference to a secret; a step refuses anything else.
    const reference = 'APP_PASSWORD: ${{ vars.APP_PASSWORD }}';
    expect(text.replace(reference, '')).not.toMatch(/secrets\.|password:|connection-string/i);
  });

  test('each job has steps and a time limit, or calls a workflow that is there', () => {
    const wrong = Object.entries(parsed.jobs).filter(([, job]) =>
      job.uses === undefined
        ? job['timeout-minutes'] === undefined ||
          (job.steps ?? []).length === 0 ||
          (job.steps ?? []).some((step) => (step.uses ?? step.run) === undefined)
        : !existsSync(job.uses),
    );
    expect(wrong.map(([name]) => name)).toEqual([]);
  });

  test('every action has a version', () => {
    const actions = [...text.matchAll(/uses: ([^\s.]\S*)/g)].map((match) => match[1] as string);
    expect(actions.filter((name) => !/@v\d+$/.test(name))).toEqual([]);
  });
});

test('delivery hands on every variable of the parameters', () => {
  const deliver = read('.github/workflows/deliver.yml');
  const missing = azure.pipeline.variables.filter(
    (name) => !deliver.includes(`${name}: \${{ vars.${name}`),
  );
  expect(missing).toEqual([]);
});

test('what is deployed is what npm run package lets through, packed as a whole', () => {
  const made = workflow.parse(parse(read('.github/workflows/azure-dev.yml'))).jobs['package'];
  const lines = (made?.steps ?? []).flatMap(({ run }) => run ?? []);
  expect(lines.at(-1)).toBe(
    'npm run -s package -- --out package/api && cd package/api && zip --quiet --recurse-paths ../api.zip .',
  );
  expect(read('.github/workflows/deliver.yml')).toContain('--from-package package/api.zip');
});

describe('alerts', () => {
  const bicep = read('infra/app/alerts.bicep');
  const alerts = z
    .array(
      z.looseObject({
        name: z.string(),
        severity: z.int().min(0).max(4),
        windowMinutes: z.int(),
        frequencyMinutes: z.int(),
      }),
    )
    .parse(JSON.parse(read('infra/queries/alerts.json')));

  test('each log alert has its query, and each query its alert', () => {
    const loaded = [
      ...bicep.matchAll(/'?([\w-]+)'?: loadTextContent\('\.\.\/queries\/([\w-]+)\.kql'\)/g),
    ];
    expect(loaded.map((match) => match[1])).toEqual(loaded.map((match) => match[2]));
    expect(loaded.map((match) => match[1]).toSorted()).toEqual(
      alerts.map((alert) => alert.name).toSorted(),
    );
  });

  test('look at least as far back as they are apart', () => {
    expect(alerts.filter((alert) => alert.windowMinutes < alert.frequencyMinutes)).toEqual([]);
  });

  test('metric alerts name metrics of the servers, with an aggregation that these have', () => {
    // Azure Monitor, supported metrics of Microsoft.DBforMySQL/flexibleServers.
    const gauges = [
      'cpu_percent',
      'storage_percent',
      'active_connections',
      'io_consumption_percent',
    ];
    const rules = [...bicep.matchAll(/metric: '(\w+)'[^}]*?aggregation: '(\w+)'/g)];
    expect(rules.length).toBe(5);
    for (const [, metric, aggregation] of rules) {
      const allowed = gauges.includes(metric ?? '') ? ['Average', 'Maximum', 'Minimum'] : ['Total'];
      expect([metric, allowed.includes(aggregation ?? '')]).toEqual([metric, true]);
      expect([...gauges, 'aborted_connections']).toContain(metric);
    }
  });
});

test('maintenance windows: seven shards, seven nights', () => {
  const shard = read('infra/app/shard.bicep');
  expect(shard).toContain('dayOfWeek: index % length(nights)');
  expect(shard).toContain('startHour: (3 + index / length(nights)) % 24');
  const at = (index: number): string => `${index % 7} ${(3 + Math.floor(index / 7)) % 24}`;
  expect(new Set(Array.from({ length: 7 }, (_, index) => at(index).split(' ')[0])).size).toBe(7);
  expect(new Set(Array.from({ length: 64 }, (_, index) => at(index))).size).toBe(64);
});
