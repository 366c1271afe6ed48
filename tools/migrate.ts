import { parseArgs } from 'node:util';
import { startProgress, type ProgressLine } from '../local/progress-line.ts';
import { parseShards, type ShardSettings } from '../src/config.ts';
import { createTokenSource } from '../src/database/entra-tokens.ts';
import { loadMigrations } from '../src/database/migration-files.ts';
import { systemClock } from '../src/kernel/clock.ts';
import { AppError } from '../src/kernel/errors.ts';
import { createJsonLogger } from '../src/kernel/logger.ts';
import { createCredential } from '../src/sign-in.ts';
import { CannotDo } from './app-client.ts';
import { createOperatorCredential } from './deploy/operator-credential.ts';
import {
  DEFAULT_CONCURRENCY,
  deliverSchema,
  describeSchemas,
  exitCodeOf,
} from './deploy/schema.ts';

const HELP = `Brings the schema of all shards up to this build. Idempotent; a repeat goes on where a run ended.

  npm run migrate [-- options]

The shards are those of SHARDS, in the environment, as the app gets them.

Options
  --user USER        sign in as this user instead (default MIGRATE_USER); by password when MIGRATE_PASSWORD
                     is set, whatever SHARDS says
  --client-id ID     with auth "entra": the user-assigned identity to sign in with (default MIGRATE_CLIENT_ID;
                     none: whoever is signed in here, by azd or else az)
  --concurrency N    shards at once, 1 to 32 (default ${DEFAULT_CONCURRENCY})
  --dry-run          only tell what is left to do
  --json             print the result as JSON, and nothing else, on standard output
  --help             this text

Exit code: 0 all shards are up to date (or could be told, with --dry-run), 1 a shard failed: run it again,
2 somebody must act first: a version clashes, a server refuses, or a setting is wrong.
`;

interface Command {
  readonly shards: readonly ShardSettings[];
  readonly clientId: string | undefined;
  readonly concurrency: number;
  readonly dryRun: boolean;
  readonly json: boolean;
}

function readCommand(args: readonly string[]): Command | undefined {
  const { env } = process;
  const { values } = parseArgs({
    args: [...args],
    options: {
      user: { type: 'string' },
      'client-id': { type: 'string' },
      concurrency: { type: 'string', default: String(DEFAULT_CONCURRENCY) },
      'dry-run': { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  const concurrency = Number(values.concurrency);
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 32) {
    throw new CannotDo('--concurrency takes a whole number from 1 to 32.');
  }
  const user = values.user ?? env['MIGRATE_USER'];
  const password = env['MIGRATE_PASSWORD'];
  const shards = parseShards(env['SHARDS']).map((shard) => ({
    ...shard,
    ...(user !== undefined && { user }),
    ...(password !== undefined && { auth: 'password' as const, password }),
  }));
  return {
    shards,
    clientId: values['client-id'] ?? env['MIGRATE_CLIENT_ID'],
    concurrency,
    dryRun: values['dry-run'],
    json: values.json,
  };
}

async function deliver(command: Command): Promise<number> {
  const logger = createJsonLogger({
    minimum: 'warn',
    write: (line) => console.error(line),
    nowMs: () => Date.now(),
  });
  let line: ProgressLine | undefined;
  const result = await deliverSchema({
    ...command,
    files: await loadMigrations(),
    tokens: createTokenSource({
      credential:
        command.clientId === undefined
          ? createOperatorCredential(process.env['AZURE_TENANT_ID'])
          : createCredential(command.clientId),
      clock: systemClock,
      logger,
    }),
    logger,
    onShard: (done, total) => {
      if (command.json) return;
      line ??= startProgress({ label: 'Migrating', total, unit: 'shards', stream: process.stderr });
      if (done === total) line.finish(done);
      else line.update(done);
    },
  });
  console.log(command.json ? JSON.stringify(result, null, 2) : describeSchemas(result));
  return exitCodeOf(result);
}

async function main(args: readonly string[]): Promise<number> {
  try {
    const command = readCommand(args);
    if (command === undefined) {
      console.log(HELP);
      return 0;
    }
    return await deliver(command);
  } catch (error) {
    const isTold =
      error instanceof CannotDo || error instanceof AppError || error instanceof TypeError;
    console.error(isTold ? error.message : error);
    return 2;
  }
}

process.exitCode = await main(process.argv.slice(2));
