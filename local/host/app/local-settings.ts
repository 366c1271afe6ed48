import { existsSync, readFileSync } from 'node:fs';
import { errorMessage, HostStartError, isRecord } from './errors.ts';

export interface LocalSettings {
  /** Variables to set unless the environment has them. */
  readonly variables: Readonly<Record<string, string>>;
  /** `Host.LocalHttpPort`, used when no port was asked for. */
  readonly port: number | undefined;
}

/**
 * Reads a `local.settings.json`. `required` says whether its absence is an error (a file named by
 * the caller) or normal (the default one, which is not under version control).
 */
export function readLocalSettings(file: string, required: boolean): LocalSettings {
  if (!existsSync(file)) {
    if (required) throw new HostStartError(`The settings file ${file} does not exist.`);
    return { variables: {}, port: undefined };
  }
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8').replace(/^\uFEFF/, ''));
  } catch (error) {
    throw new HostStartError(`${file} is not valid JSON: ${errorMessage(error)}`, error);
  }
  const root = isRecord(json) ? json : {};
  if (root['IsEncrypted'] === true) {
    throw new HostStartError(`${file} is encrypted; run "func settings decrypt" first.`);
  }
  const variables = {
    ...scalars(root['Values'], ''),
    ...scalars(root['ConnectionStrings'], 'ConnectionStrings:'),
  };
  const host = isRecord(root['Host']) ? root['Host'] : {};
  const port = Number(host['LocalHttpPort']);
  return { variables, port: Number.isInteger(port) && port > 0 ? port : undefined };
}

function scalars(section: unknown, prefix: string): Record<string, string> {
  if (!isRecord(section)) return {};
  return Object.fromEntries(
    Object.entries(section)
      .filter(([, value]) => value !== null && typeof value !== 'object')
      .map(([name, value]) => [`${prefix}${name}`, String(value)]),
  );
}

/**
 * Sets the variables the Functions runtime gives an app. What the environment has already wins,
 * except for what describes this very host. `origin` is `http://127.0.0.1:7071`: without
 * `WEBSITE_HOSTNAME` the durable client would point its URLs to port 7071.
 */
export function applyEnvironment(
  variables: Readonly<Record<string, string>>,
  host: { readonly appDir: string; readonly origin: string },
): void {
  for (const [name, value] of Object.entries(variables)) process.env[name] ??= value;
  process.env['AZURE_FUNCTIONS_ENVIRONMENT'] ??= 'Development';
  process.env['FUNCTIONS_WORKER_RUNTIME'] ??= 'node';
  process.env['AzureWebJobsScriptRoot'] = host.appDir;
  process.env['WEBSITE_HOSTNAME'] = new URL(host.origin).host;
}

/**
 * Makes `WEBSITE_TIME_ZONE` the zone of this process, as timers are local time. Returns the name of
 * a zone that this machine does not know, for a warning.
 */
export function applyTimeZone(): string | undefined {
  const zone = process.env['WEBSITE_TIME_ZONE'];
  if (zone === undefined || zone === '') return undefined;
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
  } catch {
    return zone;
  }
  process.env['TZ'] = zone;
  return undefined;
}
