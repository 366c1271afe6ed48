import { format } from 'node:util';
import type { HostLogger } from './contracts.ts';

type Level = 'debug' | 'info' | 'warn' | 'error';

const RANK: Readonly<Record<Level, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

const LEVEL_NAMES: Readonly<Record<string, number>> = {
  trace: 0,
  debug: 0,
  information: 1,
  warning: 2,
  error: 3,
  critical: 3,
  none: 4,
};

/** The host's logger, which also takes lines of the app. */
export interface LineLogger extends HostLogger {
  /** A line the app wrote; `functionName` is undefined outside of an invocation. */
  app(level: Level, message: string, functionName?: string): void;
}

/** The least rank that is printed for a category, by the longest prefix of host.json's `logLevel`. */
function threshold(levels: Readonly<Record<string, string>>, category: string): number {
  let best = { length: -1, rank: RANK.info };
  for (const [name, level] of Object.entries(levels)) {
    const rank = LEVEL_NAMES[level.toLowerCase()];
    const isDefault = name.toLowerCase() === 'default';
    const matches = isDefault || category === name || category.startsWith(`${name}.`);
    const length = isDefault ? 0 : name.length;
    if (rank !== undefined && matches && length > best.length) best = { length, rank };
  }
  return best.rank;
}

/** As {@link threshold} by the levels of the time, looked up once for each category. */
function rememberThresholds(
  levels: () => Readonly<Record<string, string>>,
): (category: string) => number {
  let current = levels();
  const known = new Map<string, number>();
  return (category) => {
    if (levels() !== current) {
      current = levels();
      known.clear();
    }
    const rank = known.get(category) ?? threshold(current, category);
    known.set(category, rank);
    return rank;
  };
}

function formatField(value: unknown): string {
  if (typeof value === 'string') return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value) ?? 'undefined';
}

/** `key=value` pairs, values quoted where they hold blanks. */
export function formatFields(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${formatField(value)}`)
    .join(' ');
}

/**
 * Writes one line per event: time, level, source, text. Warnings and errors go to `stderr`.
 * `levels` is host.json's `logging.logLevel`; it is read at each line, so it may be filled later.
 */
export function createLogger(options: {
  readonly levels: () => Readonly<Record<string, string>>;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}): LineLogger {
  const thresholdOf = rememberThresholds(options.levels);
  const write = (level: Level, category: string, text: () => string): void => {
    if (RANK[level] < thresholdOf(category)) return;
    const line = `${new Date().toISOString()} ${level.padEnd(5)} ${text()}\n`;
    if (RANK[level] >= RANK.warn) options.stderr(line);
    else options.stdout(line);
  };
  return {
    log: (level, event, fields = {}) =>
      write(level, 'Host', () => `host ${event} ${formatFields(fields)}`.trimEnd()),
    app: (level, message, functionName) =>
      write(
        level,
        functionName === undefined ? 'Function' : `Function.${functionName}.User`,
        () => `app ${functionName === undefined ? '' : `[${functionName}] `}${message}`,
      ),
  };
}

/** Turns the app's `console` output into log lines, so that every line of the host can be read alike. */
export function captureConsole(logger: LineLogger): void {
  const levels = {
    log: 'info',
    info: 'info',
    debug: 'debug',
    warn: 'warn',
    error: 'error',
  } as const;
  for (const method of ['log', 'info', 'debug', 'warn', 'error'] as const) {
    console[method] = (...args: unknown[]) => logger.app(levels[method], format(...args));
  }
}
