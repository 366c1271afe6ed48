import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { endAbandoned } from './abandoned.ts';
import { engineName } from './binaries/versions.ts';
import { LocalShardsError } from './errors.ts';
import { createProgressPrinter } from './progress.ts';
import { connectionSettings } from './settings.ts';
import { openStack, type Stack, type StackOptions, startStack } from './stack.ts';
import { writePrivateFile } from './state.ts';

const HELP = `Local shards: real MySQL (or MariaDB) servers and Azurite on this machine.

  npm run local:up   [-- options]   start what does not run, in the background
  npm run local:down [-- options]   stop exactly what was started; the data stays

Options
  --data DIR        folder of data, logs and state       (default .shardline)
  --shards N        how many shards at least, 1 to 64    (default 3; more are added, none removed)
  --engine ENGINE   auto, mysql or mariadb               (default auto: MySQL where it can be had)
  --mysqld PATH     the server program to use            (also SHARDLINE_MYSQLD)
  --fast            for tests: nothing waits for the disk, small buffers, no binary log
  --json FILE       write the connection settings there too (they are always in DIR/settings.json)
  --reset           delete all data first
  --help            this text

A server is taken from --mysqld, the PATH, the cache (SHARDLINE_CACHE, default ~/.cache/shardline) or,
on Debian, fetched once from the archive named in the machine's apt sources (SHARDLINE_DEBIAN_MIRROR
if they name none). Nothing is installed system-wide. Those who prefer containers: see compose.yaml.
`;

const MOST_SHARDS = 64;

interface Command {
  readonly name: 'up' | 'down' | 'help';
  readonly stack: StackOptions;
  readonly json?: string;
}

/** Reads the command line. Throws {@link LocalShardsError} or a `TypeError` of `parseArgs`. */
function readCommand(args: readonly string[]): Command {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      data: { type: 'string', default: '.shardline' },
      shards: { type: 'string' },
      engine: { type: 'string', default: 'auto' },
      mysqld: { type: 'string' },
      fast: { type: 'boolean' },
      json: { type: 'string' },
      reset: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [name = 'help', ...rest] = positionals;
  if ((name !== 'up' && name !== 'down' && name !== 'help') || rest.length > 0) {
    throw new LocalShardsError(`Expected "up" or "down", got "${positionals.join(' ')}".`);
  }
  const { data, engine, mysqld, fast, json, reset } = values;
  if (engine !== 'auto' && engine !== 'mysql' && engine !== 'mariadb') {
    throw new LocalShardsError(`--engine takes auto, mysql or mariadb, got "${engine}".`);
  }
  return {
    name: values.help ? 'help' : name,
    ...(json === undefined ? {} : { json }),
    stack: {
      dataDir: resolve(data),
      engine,
      reset,
      ...(values.shards === undefined ? {} : { shards: readShardCount(values.shards) }),
      ...(mysqld === undefined ? {} : { mysqld }),
      ...(fast === undefined ? {} : { fast }),
    },
  };
}

function readShardCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= MOST_SHARDS) return count;
  throw new LocalShardsError(
    `--shards takes a whole number from 1 to ${MOST_SHARDS}, got "${text}".`,
  );
}

async function up(command: Command): Promise<void> {
  const startedAt = performance.now();
  const onProgress = createProgressPrinter(process.stdout);
  const stack = await startStack({ ...command.stack, onProgress });
  const settingsFile = resolve(stack.dataDir, 'settings.json');
  const settings = connectionSettings(stack.shards, stack.storageConnectionString);
  const files = [settingsFile, ...(command.json === undefined ? [] : [resolve(command.json)])];
  for (const file of files) writePrivateFile(file, settings);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`${summary(stack)} (${seconds} s). Connection settings: ${files.join(', ')}`);
}

function summary(stack: Stack): string {
  const ports = stack.shards.map(({ name, port }) => `${name} on ${port}`).join(', ');
  return `${engineName(stack.engine)} ${stack.version}: ${ports}; storage by Azurite`;
}

async function down({ stack: { dataDir, reset } }: Command): Promise<void> {
  const onProgress = createProgressPrinter(process.stdout);
  const stack = openStack(dataDir, onProgress);
  const stopped =
    stack === undefined
      ? await endAbandoned(dataDir)
      : await stack.stop({ deleteData: reset === true });
  const servers = stopped === 1 ? '1 server' : `${stopped} servers`;
  console.log(stopped === 0 ? 'Nothing was running.' : `Stopped ${servers}.`);
}

try {
  const command = readCommand(process.argv.slice(2));
  if (command.name === 'help') console.log(HELP);
  else await (command.name === 'up' ? up(command) : down(command));
} catch (error) {
  const usage = error instanceof TypeError && 'code' in error;
  if (!(error instanceof LocalShardsError) && !usage) throw error;
  console.error(`${error.message}${usage ? ' --help lists the options.' : ''}`);
  process.exitCode = 1;
}
