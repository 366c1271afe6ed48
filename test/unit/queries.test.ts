import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ATTRIBUTES, METRICS } from '../../src/kernel/telemetry-names.ts';

const FOLDER = 'infra/queries';
/** Tables of a workspace, with the columns that queries may use. */
const COLUMNS: Readonly<Record<string, readonly string[]>> = {
  AppMetrics: ['TimeGenerated', 'Name', 'Sum', 'Min', 'Max', 'ItemCount', 'Properties'],
  AppDependencies: [
    'TimeGenerated',
    'Name',
    'DurationMs',
    'Success',
    'ItemCount',
    'OperationId',
    'Properties',
  ],
};
/** What these are called in the component's scope: a query that mixes the two finds nothing. */
const COMPONENT_NAMES =
  /\b(customMetrics|dependencies|requests|traces|exceptions|customDimensions|timestamp|valueSum|valueCount|cloud_RoleName)\b/;

const alerts = z
  .array(
    z.strictObject({
      name: z.string().regex(/^[a-z0-9-]+$/),
      displayName: z.string(),
      description: z.string(),
      severity: z.int().min(0).max(4),
      windowMinutes: z.int(),
      frequencyMinutes: z.int(),
      runbook: z.string(),
    }),
  )
  .parse(JSON.parse(readFileSync(`${FOLDER}/alerts.json`, 'utf8')));

const files = (folder: string): string[] =>
  readdirSync(folder).filter((name) => name.endsWith('.kql'));
const queryFiles = [
  ...files(FOLDER).map((name) => `${FOLDER}/${name}`),
  ...files(`${FOLDER}/tiles`).map((name) => `${FOLDER}/tiles/${name}`),
];

interface Query {
  readonly table: string;
  readonly metrics: readonly string[];
  readonly spanNames: readonly string[];
  readonly keys: readonly string[];
  readonly columns: readonly string[];
}

const all = (pattern: RegExp, text: string): string[] =>
  [...text.matchAll(pattern)].map((match) => match[1] ?? '');

const withoutComments = (text: string): string => text.replaceAll(/^\/\/.*$/gm, '');

/** As much of KQL as these queries use: one table, then pipes. */
function parse(text: string): Query {
  const code = withoutComments(text);
  const table = /^\s*(\w+)/.exec(code)?.[1] ?? '';
  const names = all(/\bName\s*==\s*'([^']*)'/g, code);
  const bare = code.replaceAll(/'[^']*'/g, "''");
  return {
    table,
    metrics: table === 'AppMetrics' ? names : [],
    spanNames: table === 'AppMetrics' ? [] : names,
    keys: all(/\bProperties\['([^']*)'\]/g, code),
    columns: all(/\b([A-Z]\w*)\b/g, bare).filter((word) => word !== table),
  };
}

const metricsByName = new Map(
  Object.values(METRICS).map((metric) => [metric.name as string, metric]),
);

function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.join(folder, name));
}
const sources = sourceFiles('src').map((file) => ({ file, text: readFileSync(file, 'utf8') }));

describe.each(queryFiles)('%s', (file) => {
  const text = readFileSync(file, 'utf8');
  const query = parse(text);

  test('reads one workspace table, by columns it has', () => {
    expect(Object.keys(COLUMNS)).toContain(query.table);
    expect(withoutComments(text)).not.toMatch(COMPONENT_NAMES);
    const known = COLUMNS[query.table] ?? [];
    expect(query.columns.filter((column) => !known.includes(column))).toEqual([]);
  });

  test('names metrics and keys that the code has, each key of the metric it is asked of', () => {
    const asked = query.table === 'AppMetrics' ? [query.metrics[0] ?? 'none'] : [];
    expect(query.metrics).toEqual(asked);
    expect(query.metrics.filter((name) => !metricsByName.has(name))).toEqual([]);
    const metric = metricsByName.get(asked[0] ?? '');
    const allowed: readonly string[] = metric?.attributes ?? Object.values(ATTRIBUTES);
    expect(query.keys.filter((key) => !allowed.includes(key))).toEqual([]);
  });

  test('names spans that functions of the app have', () => {
    const isMade = (name: string): boolean =>
      sources.some((source) => source.text.includes(`name: '${name}'`));
    expect(query.spanNames.filter((name) => !isMade(name))).toEqual([]);
  });

  test('measures in a way that its metric has', () => {
    const [name = ''] = query.metrics;
    const kind = metricsByName.get(name)?.kind;
    const ofCounter = kind === 'counter' && /\b(Max|Min)\b/.test(text);
    const ofGauge = kind === 'gauge' && /\b(Sum|ItemCount)\b/.test(text);
    expect(ofCounter || ofGauge).toBe(false);
  });
});

describe('metrics', () => {
  test.each(Object.keys(METRICS))('%s is told by the code', (key) => {
    const users = sources.filter(({ text }) => new RegExp(`METRICS\\.${key}\\b`).test(text));
    expect(users.map(({ file }) => file)).not.toEqual([]);
  });

  test('each is shown by a tile, but for those that only tell a mean', () => {
    const shown = new Set(queryFiles.flatMap((file) => parse(readFileSync(file, 'utf8')).metrics));
    const unseen = [...metricsByName.keys()].filter((name) => !shown.has(name));
    expect(unseen.toSorted()).toEqual([
      METRICS.ingestionDelay.name,
      METRICS.maintenanceDuration.name,
      METRICS.orderWriteDuration.name,
      METRICS.sagaSteps.name,
    ]);
  });
});

describe('alerts', () => {
  test('each has its query, and each query outside of tiles is one', () => {
    const names = alerts.map(({ name }) => `${name}.kql`);
    expect(names.toSorted()).toEqual(files(FOLDER).toSorted());
  });

  test.each(alerts)(
    '$name looks at what its tile shows',
    ({ name, windowMinutes, frequencyMinutes }) => {
      const tile = readFileSync(`${FOLDER}/tiles/${name}.kql`, 'utf8');
      expect(readFileSync(`${FOLDER}/${name}.kql`, 'utf8').startsWith(tile)).toBe(true);
      expect(windowMinutes).toBeGreaterThanOrEqual(frequencyMinutes);
      // Values that the platform takes for a scheduled query.
      expect([5, 10, 15, 20, 30, 45, 60, 120, 180, 240, 300, 360]).toContain(windowMinutes);
      expect([5, 10, 15, 30, 45, 60]).toContain(frequencyMinutes);
    },
  );

  test.each(alerts)('$name has a runbook that names it', ({ name, runbook }) => {
    expect(runbook).toBe(`docs/runbooks/${name}.md`);
    expect(readFileSync(runbook, 'utf8')).toContain(`Alert: \`${name}\``);
  });

  test('each runbook names an alert, or says that there is none', () => {
    const named = (text: string): string =>
      /^Alert: `([a-z0-9-]+)`/m.exec(text)?.[1] ??
      (/^No alert leads here/m.test(text) ? 'none' : 'nothing said');
    const known = ['none', ...alerts.map(({ name }) => name)];
    const wrong = readdirSync('docs/runbooks').filter(
      (file) => !known.includes(named(readFileSync(`docs/runbooks/${file}`, 'utf8'))),
    );
    expect(wrong).toEqual([]);
  });
});

describe('the workbook', () => {
  const workbook = z
    .object({
      items: z.array(
        z.object({
          type: z.int(),
          name: z.string(),
          content: z.object({ query: z.string().optional(), resourceType: z.string().optional() }),
        }),
      ),
    })
    .parse(JSON.parse(readFileSync('infra/workbook.json', 'utf8')));
  const tiles = workbook.items.filter(({ type }) => type === 3);

  test('its tiles hold the queries of their files, over the workspace', () => {
    for (const { name, content } of tiles) {
      expect(content.query, name).toBe(readFileSync(`${FOLDER}/tiles/${name}.kql`, 'utf8'));
      expect(content.resourceType).toBe('microsoft.operationalinsights/workspaces');
    }
  });

  test('every alert has a tile, and every tile’s file is shown but the one to fill in', () => {
    const shown = tiles.map(({ name }) => `${name}.kql`);
    const kept = files(`${FOLDER}/tiles`).filter((name) => name !== 'slow-statements.kql');
    expect(shown.toSorted()).toEqual(kept.toSorted());
    for (const { name } of alerts) expect(shown).toContain(`${name}.kql`);
  });
});

describe('the objectives', () => {
  const slo = readFileSync('docs/slo.md', 'utf8');

  test('each names a metric, a query, an alert and a runbook that exist', () => {
    const rows = slo.split('\n').filter((line) => line.startsWith('| **'));
    expect(rows).toHaveLength(5);
    for (const row of rows) {
      const metrics = all(/`(shardline\.[a-z_.]+)`/g, row);
      expect(metrics.length, row).toBeGreaterThan(0);
      for (const metric of metrics) expect(metricsByName.has(metric), metric).toBe(true);
      const links = all(/\]\(([^)]+)\)/g, row);
      expect(links).toHaveLength(2);
      for (const link of links) expect(existsSync(path.join('docs', link)), link).toBe(true);
      expect(alerts.some(({ name }) => row.includes(`runbooks/${name}.md`))).toBe(true);
    }
  });
});
