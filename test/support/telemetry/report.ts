import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import type { HttpClient } from '../http.ts';

/** Names the folder to the app under test. */
export const FOLDER = 'SHARDLINE_TELEMETRY';
export const REPORT_FILE = 'report.json';

const attributes = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]));
const seenSpan = z.object({
  name: z.string(),
  kind: z.int(),
  traceId: z.string(),
  spanId: z.string(),
  parentSpanId: z.string().nullable(),
  links: z.array(z.string()),
  status: z.int(),
  events: z.int(),
  attributes,
});
export type SeenSpan = z.infer<typeof seenSpan>;
const seenSeries = z.object({
  name: z.string(),
  unit: z.string(),
  attributes,
  /** Of a histogram the number of its values. */
  value: z.number(),
});
const report = z.object({ spans: z.array(seenSpan), metrics: z.array(seenSeries) });
export type TelemetryReport = z.infer<typeof report>;

/** An app whose telemetry a test reads. */
export interface TelemetryApp {
  /** Folder of the app, for `startTestApp`. */
  readonly app: string;
  readonly settings: Readonly<Record<string, string>>;
  read(http: HttpClient): Promise<TelemetryReport>;
  remove(): Promise<void>;
}

export function createTelemetryApp(): TelemetryApp {
  const root = mkdtempSync(path.join(tmpdir(), 'shardline-telemetry-'));
  const app = path.join(root, 'app');
  const repository = path.resolve(import.meta.dirname, '..', '..', '..');
  const entry = pathToFileURL(path.join(import.meta.dirname, 'app-child.ts')).href;
  mkdirSync(app);
  writeFileSync(path.join(app, 'host.json'), readFileSync(path.join(repository, 'host.json')));
  const manifest = { name: 'shardline-with-telemetry', type: 'module', main: 'main.js' };
  writeFileSync(path.join(app, 'package.json'), JSON.stringify(manifest));
  writeFileSync(path.join(app, 'main.js'), `import ${JSON.stringify(entry)};\n`);
  return {
    app,
    settings: { [FOLDER]: root },
    read: async (http) => {
      const { status } = await http.get('/api/test-telemetry');
      if (status !== 204) throw new Error(`no telemetry: ${status}`);
      return report.parse(JSON.parse(readFileSync(path.join(root, REPORT_FILE), 'utf8')));
    },
    remove: () => rm(root, { recursive: true, force: true }),
  };
}
