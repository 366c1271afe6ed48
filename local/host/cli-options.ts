import { parseArgs } from 'node:util';
import { errorMessage, HostStartError } from './app/errors.ts';

export interface CliOptions {
  readonly app: string;
  readonly data: string;
  readonly host: string;
  readonly port: number | undefined;
  readonly auth: boolean;
  readonly settings: string | undefined;
  readonly help: boolean;
}

export const USAGE = `Runs a built Azure Functions app (Node.js, v4 programming model) on this machine.

  npm run local:host -- [options]

  --app DIR        folder of the app                     (default: this repository)
  --data DIR       folder of the host's state            (default: .shardline/host)
  --port N         port; 0 picks a free one              (default: LocalHttpPort, else 7071)
  --host ADDRESS   address to listen on                  (default: 127.0.0.1)
  --auth           ask for keys, as Azure does; they are printed at start
  --settings FILE  local settings                        (default: DIR/local.settings.json; for this
                   repository's app also what "npm run local:up" wrote)
  --help           this text
`;

const DEFINITIONS = {
  app: { type: 'string' },
  data: { type: 'string' },
  port: { type: 'string' },
  host: { type: 'string' },
  auth: { type: 'boolean' },
  settings: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const;

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new HostStartError(`--port must be a number from 0 to 65535, but is "${text}".`);
}

/** Reads the command line. Throws {@link HostStartError} for unknown options and wrong values. */
export function parseCliOptions(
  args: readonly string[],
  defaults: { readonly app: string; readonly data: string },
): CliOptions {
  let values;
  try {
    values = parseArgs({ args: [...args], options: DEFINITIONS, strict: true }).values;
  } catch (error) {
    throw new HostStartError(`${errorMessage(error)}\nTry --help.`, error);
  }
  return {
    app: values.app ?? defaults.app,
    data: values.data ?? defaults.data,
    host: values.host ?? '127.0.0.1',
    port: values.port === undefined ? undefined : parsePort(values.port),
    auth: values.auth ?? false,
    settings: values.settings,
    help: values.help ?? false,
  };
}
