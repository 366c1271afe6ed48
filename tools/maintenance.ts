import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { startProgress, type ProgressLine } from '../local/progress-line.ts';
import { pageViewSchema, type PageView } from '../src/maintenance/run-view.ts';
import { CannotDo } from './app-client.ts';
import { describeMaintenance, exitCodeOf } from './maintenance-report.ts';
import { readList } from './ops-arguments.ts';
import { refused, send, watchRun, type ClientOptions } from './ops-client.ts';

const HELP = `Maintenance of a running app: statistics and rebuilds, where thresholds say so.

  npm run ops -- maintenance [--dry-run] [--force] [options]   start a run
  npm run ops -- maintenance status [ID] [--watch]             how far it is (default: the latest)
  npm run ops -- maintenance cancel ID                         begin nothing more

Options
  --shards A,B,…    only these        (default all)
  --tables A,B,…    only these        (default all)
  --dry-run         only look and decide
  --force           also where no threshold is reached; guards and the window hold all the same
  --watch           wait for the end, with progress
  --url URL         origin of the app (default http://127.0.0.1:7071)
  --key KEY         its admin key     (default SHARDLINE_ADMIN_KEY; none on a local host)
  --json            print the answer as JSON, and nothing else, on standard output
  --help            this text

Exit code: 0 done, 1 the run that was waited for was cancelled or failed, or a unit or a shard in it, 2 it could not be
carried out.
`;

const OPTIONS = {
  url: { type: 'string', default: 'http://127.0.0.1:7071' },
  key: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
  watch: { type: 'boolean', default: false },
  shards: { type: 'string' },
  tables: { type: 'string' },
  'dry-run': { type: 'boolean', default: false },
  force: { type: 'boolean', default: false },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>['values'];

const accepted = z.object({ maintenanceId: z.string() });
/** Tables of one answer: all of a small cluster; `--json` and the report have the rest. */
const PAGE = 'limit=500';

/** Carries out `ops maintenance …`; gives the exit code. Throws {@link CannotDo}, or a `TypeError` of `parseArgs`. */
export async function operateMaintenance(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: OPTIONS,
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (!URL.canParse(values.url)) throw new CannotDo(`--url takes a URL, got "${values.url}".`);
  const client: ClientOptions = {
    url: values.url,
    key: values.key ?? env['SHARDLINE_ADMIN_KEY'],
    fetch: (url, init) => fetch(url, init),
    sleep: (ms) => sleep(ms),
  };
  const [verb, id, ...more] = positionals;
  if (more.length > 0) throw new CannotDo(`Too much: "${more.join(' ')}"; --help shows all.`);
  switch (verb) {
    case undefined:
      return await start(client, values);
    case 'status':
      return await show(client, values, id ?? 'latest');
    case 'cancel':
      if (id === undefined) throw new CannotDo('maintenance cancel takes the id of a run.');
      await cancel(client, id);
      return await show(client, values, id);
    default:
      throw new CannotDo(`There is no command "maintenance ${verb}"; --help shows all.`);
  }
}

async function start(client: ClientOptions, values: Values): Promise<number> {
  const reply = await send(client, 'POST', 'maintenance', {
    ...(values.shards !== undefined && { shards: readList('--shards', values.shards) }),
    ...(values.tables !== undefined && { tables: values.tables.split(',').map((t) => t.trim()) }),
    dryRun: values['dry-run'],
    force: values.force,
  });
  if (reply.status !== 202) throw refused(client, reply);
  const { maintenanceId } = accepted.parse(reply.body);
  if (values.watch) return await show(client, values, maintenanceId);
  console.log(
    values.json
      ? JSON.stringify({ maintenanceId }, null, 2)
      : `Maintenance ${maintenanceId} runs. Watch it with: npm run ops -- maintenance status ${maintenanceId} --watch`,
  );
  return 0;
}

async function cancel(client: ClientOptions, id: string): Promise<void> {
  const reply = await send(client, 'POST', `maintenance/${encodeURIComponent(id)}/cancel`, {});
  if (reply.status !== 202) throw refused(client, reply);
}

async function show(client: ClientOptions, values: Values, id: string): Promise<number> {
  const run = values.watch ? await watch(client, values, id) : await read(client, id);
  console.log(values.json ? JSON.stringify(run, null, 2) : describeMaintenance(run));
  return values.watch ? exitCodeOf(run) : 0;
}

async function read(client: ClientOptions, id: string): Promise<PageView> {
  const reply = await send(client, 'GET', `maintenance/${encodeURIComponent(id)}?${PAGE}`);
  if (reply.status !== 200) throw refused(client, reply);
  return pageViewSchema.parse(reply.body);
}

/** Everything but the result goes to the error output, so that the result can be piped. */
async function watch(client: ClientOptions, { json }: Values, id: string): Promise<PageView> {
  let line: ProgressLine | undefined;
  let shown = 0;
  const onProgress = ({ progress }: PageView): void => {
    if (json || progress.units === 0) return;
    // Shards that are looked at later bring units of their own: the line begins again.
    if (progress.units !== shown) line = undefined;
    shown = progress.units;
    line ??= startProgress({
      label: 'Maintaining',
      total: progress.units,
      unit: 'units',
      stream: process.stderr,
    });
    line.update(progress.unitsDone);
  };
  const ended = await watchRun(client, {
    path: `maintenance/${encodeURIComponent(id)}?${PAGE}`,
    schema: pageViewSchema,
    isGoing: ({ status }) => status === 'running' || status === 'cancelling',
    onProgress,
    comeBack: `The run goes on when it comes back: npm run ops -- maintenance status ${id} --watch`,
  });
  line?.finish(ended.progress.unitsDone);
  return ended;
}
