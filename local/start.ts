import path from 'node:path';
import { parseArgs } from 'node:util';
import { startHostProcess } from './host-process.ts';
import { createProgressPrinter } from './shards/progress.ts';
import { startStack } from './shards/stack.ts';

const HELP = `The whole local stack in the foreground: MySQL shards, storage and the app. Ctrl-C stops it.

  npm start [-- options]

Options
  --shards N   how many shards at least   (default 3; more are added, none removed)
  --port P     port of the app            (default 7071; 0 picks a free one)
  --data DIR   folder of all data         (default .shardline)
  --reset      delete all data first
  --auth       ask for keys, as Azure does
  --telemetry  off, console or otlp           (default off; otlp sends to OTEL_EXPORTER_OTLP_ENDPOINT,
               or to http://localhost:4318)
  --help       this text
`;

interface Options {
  readonly shards: number;
  readonly port: number;
  readonly dataDir: string;
  readonly reset: boolean;
  readonly auth: boolean;
  readonly telemetry: string;
}

const TELEMETRY = ['off', 'console', 'otlp'];

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new Error(`--${name} takes a whole number ${min} … ${max}, got "${text}".`);
}

function readOptions(args: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      shards: { type: 'string', default: '3' },
      port: { type: 'string', default: '7071' },
      data: { type: 'string', default: '.shardline' },
      reset: { type: 'boolean', default: false },
      auth: { type: 'boolean', default: false },
      telemetry: { type: 'string', default: 'off' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  if (!TELEMETRY.includes(values.telemetry)) {
    throw new Error(`--telemetry takes ${TELEMETRY.join(', ')}, got "${values.telemetry}".`);
  }
  return {
    shards: wholeNumber('shards', values.shards, 1, 64),
    port: wholeNumber('port', values.port, 0, 65_535),
    dataDir: path.resolve(values.data),
    reset: values.reset,
    auth: values.auth,
    telemetry: values.telemetry,
  };
}

async function run(options: Options): Promise<void> {
  const { dataDir, shards, reset } = options;
  const onProgress = createProgressPrinter(process.stdout);
  const stack = await startStack({ dataDir, shards, reset, onProgress });
  const stop = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  try {
    const host = await startHostProcess({
      port: options.port,
      dataDir: path.join(dataDir, 'host'),
      auth: options.auth,
      settings: {
        SHARDS: JSON.stringify(stack.shards),
        AzureWebJobsStorage: stack.storageConnectionString,
        FUNCTIONS_WORKER_RUNTIME: 'node',
        // Everything is kept: on one machine nobody looks for a tenth of a trace.
        TELEMETRY: options.telemetry,
        TELEMETRY_SAMPLE_PERCENT: '100',
      },
      onLine: (line) => console.log(line),
    });
    console.log(`\n${stack.shards.length} shards, storage and the app are up: ${host.origin}/api`);
    console.log('Ctrl-C stops everything; the data stays.');
    const code = await Promise.race([stop, host.exited]);
    if (code !== undefined) console.error(`The host ended by itself (code ${String(code)}).`);
    await host.stop();
  } finally {
    await stack.stop();
  }
}

try {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) console.log(HELP);
  else await run(options);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
