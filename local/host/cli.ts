import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { errorStack, HostStartError } from './app/errors.ts';
import { textOption } from './app/indexing.ts';
import { parseCliOptions, USAGE } from './cli-options.ts';
import { startHost, type RunningHost } from './host.ts';

const REPOSITORY = join(import.meta.dirname, '..', '..');

function triggerSummary(host: RunningHost, fn: RunningHost['functions'][number]): string {
  const { trigger } = fn;
  const methods = Array.isArray(trigger['methods']) ? ` [${trigger['methods'].join(',')}]` : '';
  const detail =
    host.urlOf(fn) ?? (textOption(trigger, 'queueName') || textOption(trigger, 'schedule'));
  const state = fn.disabled ? ' (disabled)' : '';
  return `  ${fn.name}: ${trigger.type}${methods} ${detail}${state}`.trimEnd();
}

function printSummary(host: RunningHost): void {
  const lines = ['Functions:', ...host.functions.map((fn) => triggerSummary(host, fn))];
  if (host.keys !== undefined) {
    lines.push('Keys (header x-functions-key or ?code=):');
    for (const [name, key] of Object.entries(host.keys)) lines.push(`  ${name}: ${key}`);
  }
  lines.push(`Host ready on ${host.origin}`);
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** The first signal drains, the second ends at once. */
function stopOnSignals(host: RunningHost): void {
  let isStopping = false;
  const onSignal = (): void => {
    if (isStopping) process.exit(1);
    isStopping = true;
    host.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`${errorStack(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
}

/** As in the Functions worker, an error nobody caught ends the process; state is kept, so restart. */
function exitOnStrayErrors(): void {
  process.on('uncaughtException', (error, origin) => {
    process.stderr.write(
      `The app raised an error nobody caught (${origin}):\n${errorStack(error)}\n`,
    );
    process.exit(1);
  });
}

/**
 * The settings file to use. This repository's app takes what `npm run local:up` wrote when it has no settings of its
 * own, so that the two commands work one after the other.
 */
function settingsFile(app: string, named: string | undefined): string | undefined {
  if (named !== undefined || resolve(app) !== resolve(REPOSITORY)) return named;
  const ownSettings = join(REPOSITORY, 'local.settings.json');
  const writtenByLocalUp = join(REPOSITORY, '.shardline', 'settings.json');
  return !existsSync(ownSettings) && existsSync(writtenByLocalUp) ? writtenByLocalUp : undefined;
}

async function main(): Promise<void> {
  const options = parseCliOptions(process.argv.slice(2), {
    app: REPOSITORY,
    data: join(REPOSITORY, '.shardline', 'host'),
  });
  if (options.help) {
    process.stdout.write(USAGE);
    return;
  }
  exitOnStrayErrors();
  const settings = settingsFile(options.app, options.settings);
  const host = await startHost({
    appDir: options.app,
    dataDir: options.data,
    host: options.host,
    auth: options.auth,
    captureConsole: true,
    ...(options.port === undefined ? {} : { port: options.port }),
    ...(settings === undefined ? {} : { settingsFile: settings }),
  });
  stopOnSignals(host);
  printSummary(host);
}

main().catch((error: unknown) => {
  const text = error instanceof HostStartError ? error.message : errorStack(error);
  process.stderr.write(`The host cannot start.\n${text}\n`);
  process.exit(1);
});
