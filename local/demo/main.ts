import path from 'node:path';
import { parseArgs } from 'node:util';
import { type HostProcess, startHostProcess } from '../host-process.ts';
import { createProgressPrinter } from '../shards/progress.ts';
import { type Stack, startStack } from '../shards/stack.ts';
import { createApi } from './api.ts';
import { registerCustomers, sendThroughQueue } from './load.ts';
import { MAINTENANCE_SETTINGS, showMaintenance } from './maintenance.ts';
import { countEarlierOrders, showRebalance } from './rebalance.ts';
import { EXPECTED_ORDERS, showRevenue } from './revenue.ts';
import { showSagas } from './sagas.ts';
import { tellStory } from './story.ts';
import { loadSuperstore } from './superstore.ts';

const HELP = `The demonstration: brings up shards, storage and the app, and shows them at work on real data.
Exits 0 only if every figure is right. A second run changes nothing and says so.

  npm run demo [-- --data DIR] [-- --reset]

Options
  --data DIR   folder of its data   (default .shardline/demo)
  --reset      delete that data first
  --help       this text
`;

const SHARDS = 3;

function chapter(title: string): void {
  console.log(`\n── ${title} ${'─'.repeat(Math.max(0, 76 - title.length))}`);
}

/** Tells the whole story against a running app; returns what was wrong. */
async function demonstrate(app: DemoApp): Promise<string[]> {
  const { storageConnectionString } = app.stack;
  const api = createApi(app.origin());
  const earlier = await countEarlierOrders(api);
  const print = (line: string): void => console.log(line);

  chapter('Four users, three orders, and where they live');
  const story = await tellStory(api, print);

  chapter('793 customers and 5 009 orders of the Superstore data set');
  const { customers, orders } = await loadSuperstore();
  const registered = await registerCustomers(api, customers);
  const queued = await sendThroughQueue({
    api,
    storageConnectionString,
    orders,
    expectedOrders: EXPECTED_ORDERS + earlier,
  });

  chapter('Writes that cross shards');
  const sagas = await showSagas({ api, storageConnectionString, print });

  chapter('Revenue');
  const wrong = [...sagas.wrong, ...(await showRevenue(api, print, earlier))];

  chapter('A night of maintenance');
  wrong.push(...(await showMaintenance({ api, shards: app.stack.shards, print })));

  chapter('A fourth shard joins while orders keep coming');
  wrong.push(...(await showRebalance({ api, addShard: app.addShard, print })));

  chapter('What happened');
  const created = story.created + registered.created + queued.created + sagas.tally.created;
  const sent = story.sent + registered.sent + queued.sent + sagas.tally.sent;
  console.log(
    created === 0
      ? `  ${sent} requests and messages changed nothing: all of it was here from an earlier run.`
      : `  ${created} of ${sent} requests and messages made something new; the rest was here already.`,
  );
  return wrong;
}

/** The app over its shards, for as long as the demonstration lasts. */
interface DemoApp {
  readonly stack: Stack;
  readonly origin: () => string;
  /** One more shard, and the app again with it, unless it is there already. */
  readonly addShard: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

async function startApp(stack: Stack, dataDir: string): Promise<DemoApp> {
  const logFile = path.join(dataDir, 'host.log');
  const start = (port: number): Promise<HostProcess> =>
    startHostProcess({
      port,
      dataDir: path.join(dataDir, 'host'),
      logFile,
      settings: {
        SHARDS: JSON.stringify(stack.shards),
        AzureWebJobsStorage: stack.storageConnectionString,
        FUNCTIONS_WORKER_RUNTIME: 'node',
        // Old copies need not be kept for long where nobody will look for them.
        REBALANCE_PURGE_AFTER_MS: '1000',
        ...MAINTENANCE_SETTINGS,
      },
    });
  let host = await start(0);
  console.log(`  the app serves ${host.origin}/api; its log is ${path.relative('.', logFile)}`);
  return {
    stack,
    origin: () => host.origin,
    addShard: async () => {
      if (stack.shards.length > SHARDS) return;
      const shard = await stack.addShard();
      console.log(`  ${shard.name} is started, and the app again, with four entries in SHARDS`);
      const { port } = new URL(host.origin);
      await host.stop();
      host = await start(Number(port));
    },
    stop: () => host.stop(),
  };
}

async function run(dataDir: string, reset: boolean): Promise<void> {
  const started = performance.now();
  chapter('Shards, storage and the app');
  const onProgress = createProgressPrinter(process.stdout);
  const stack = await startStack({ dataDir, shards: SHARDS, reset, onProgress });
  console.log(
    `  ${stack.shards.length} × ${stack.engine} ${stack.version}, flushed at every commit, and storage`,
  );
  try {
    const app = await startApp(stack, dataDir);
    try {
      const wrong = await demonstrate(app);
      report(wrong, (performance.now() - started) / 1000);
    } finally {
      await app.stop();
    }
  } finally {
    await stack.stop();
  }
}

function report(wrong: readonly string[], seconds: number): void {
  if (wrong.length === 0) {
    console.log(`  Every figure is right. ${seconds.toFixed(0)} s in all.`);
    return;
  }
  for (const problem of wrong) console.error(`  WRONG: ${problem}`);
  process.exitCode = 1;
}

try {
  const { values } = parseArgs({
    options: {
      data: { type: 'string', default: path.join('.shardline', 'demo') },
      reset: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) console.log(HELP);
  else await run(path.resolve(values.data), values.reset);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
