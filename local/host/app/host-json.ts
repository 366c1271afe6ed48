import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { DurableSettings } from '../contracts.ts';
import { errorMessage, HostStartError, isRecord } from './errors.ts';
import { parseTimeSpan } from './time-span.ts';

/** `extensions.queues` of host.json, defaults applied; durations in milliseconds. */
export interface QueueSettings {
  readonly batchSize: number;
  readonly newBatchThreshold: number;
  readonly maxDequeueCount: number;
  readonly visibilityTimeoutMs: number;
  readonly maxPollingIntervalMs: number;
  readonly messageEncoding: 'base64' | 'none';
}

/** `extensions.http` of host.json; -1 means unlimited. */
export interface HttpSettings {
  readonly routePrefix: string;
  readonly maxConcurrentRequests: number;
  readonly maxOutstandingRequests: number;
  readonly customHeaders: Readonly<Record<string, string>>;
}

/** The host.json keys this host honours; unknown keys are ignored as in Azure. */
export interface HostSettings {
  /** Undefined means no limit. */
  readonly functionTimeoutMs: number | undefined;
  /** When present, only these functions are loaded. */
  readonly functions: ReadonlySet<string> | undefined;
  /** `logging.logLevel`, e.g. `{ default: 'Information', 'Function.orders': 'Debug' }`. */
  readonly logLevels: Readonly<Record<string, string>>;
  readonly http: HttpSettings;
  readonly queues: QueueSettings;
  readonly durable: DurableSettings;
}

/** Polling slower than this makes development tedious, so Core Tools caps it as well. */
const DEV_MAX_POLLING_MS = 2_000;
const OVERRIDE_PREFIX = 'AzureFunctionsJobHost__';

type Json = Record<string, unknown>;

/**
 * Reads `host.json` of the app folder, with `AzureFunctionsJobHost__a__b` variables laid over it.
 * Throws {@link HostStartError} listing every value that is out of range.
 */
export function readHostSettings(
  appDir: string,
  env: Readonly<Record<string, string | undefined>>,
): HostSettings {
  const json = readHostJson(appDir, env);
  const problems: string[] = [];
  const settings = toSettings(new Section(json, 'host.json', problems));
  if (problems.length > 0) throw new HostStartError(problems.join('\n'));
  return settings;
}

/** `host.json` of the app folder as the host sees it, with `AzureFunctionsJobHost__a__b` variables laid over it. */
export function readHostJson(
  appDir: string,
  env: Readonly<Record<string, string | undefined>>,
): Readonly<Json> {
  const json = readJson(join(appDir, 'host.json'));
  applyOverrides(json, env);
  return json;
}

function readJson(file: string): Json {
  if (!existsSync(file)) {
    throw new HostStartError(`${file} is missing. Its least content is {"version": "2.0"}.`);
  }
  try {
    const parsed: unknown = JSON.parse(readFileSync(file, 'utf8').replace(/^\uFEFF/, ''));
    if (!isRecord(parsed)) throw new Error('expected a JSON object');
    return parsed;
  } catch (error) {
    throw new HostStartError(`${file} cannot be read: ${errorMessage(error)}`, error);
  }
}

function applyOverrides(json: Json, env: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || !name.toLowerCase().startsWith(OVERRIDE_PREFIX.toLowerCase())) {
      continue;
    }
    const path = name.slice(OVERRIDE_PREFIX.length).split(/__|:/);
    const last = path.pop();
    let target = json;
    for (const part of path) {
      const key = existingKey(target, part);
      const child = target[key];
      const next: Json = isRecord(child) ? child : {};
      target[key] = next;
      target = next;
    }
    if (last !== undefined) target[existingKey(target, last)] = value;
  }
}

/** Configuration keys are case-insensitive in .NET. */
function existingKey(target: Json, name: string): string {
  return Object.keys(target).find((key) => key.toLowerCase() === name.toLowerCase()) ?? name;
}

/** A typed view of one object of host.json that collects problems instead of throwing at the first. */
class Section {
  readonly #json: Json;
  readonly #path: string;
  readonly #problems: string[];

  constructor(json: unknown, path: string, problems: string[]) {
    this.#json = isRecord(json) ? json : {};
    this.#path = path;
    this.#problems = problems;
  }

  raw(name: string): unknown {
    return this.#json[existingKey(this.#json, name)];
  }

  section(name: string): Section {
    return new Section(this.raw(name), `${this.#path}: ${name}`, this.#problems);
  }

  problem(name: string, expected: string): void {
    this.#problems.push(
      `${this.#path}: "${name}" must be ${expected}, but is ${JSON.stringify(this.raw(name))}.`,
    );
  }

  integer(name: string, fallback: number, range: { min: number; max: number }): number {
    const value = this.raw(name) ?? fallback;
    const number = typeof value === 'string' && value !== '' ? Number(value) : value;
    if (Number.isInteger(number) && Number(number) >= range.min && Number(number) <= range.max) {
      return Number(number);
    }
    this.problem(name, `a whole number from ${range.min} to ${range.max}`);
    return fallback;
  }

  timeSpanMs(name: string, fallbackMs: number): number {
    const value = this.raw(name);
    if (value === undefined) return fallbackMs;
    const parsed = typeof value === 'string' ? parseTimeSpan(value) : undefined;
    if (parsed === undefined) this.problem(name, 'a time span such as "00:00:30"');
    return parsed ?? fallbackMs;
  }

  oneOf<T extends string>(name: string, allowed: readonly T[], fallback: T): T {
    const value = this.raw(name) ?? fallback;
    const text = typeof value === 'string' ? value.toLowerCase() : undefined;
    const found = allowed.find((entry) => entry.toLowerCase() === text);
    if (found === undefined) this.problem(name, allowed.map((entry) => `"${entry}"`).join(' or '));
    return found ?? fallback;
  }

  strings(name: string): Record<string, string> {
    const value = this.raw(name);
    if (!isRecord(value)) return {};
    return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, String(entry)]));
  }
}

function toSettings(root: Section): HostSettings {
  const extensions = root.section('extensions');
  const functions = root.raw('functions');
  return {
    functionTimeoutMs:
      root.raw('functionTimeout') === '-1' || root.raw('functionTimeout') === -1
        ? undefined
        : root.timeSpanMs('functionTimeout', 30 * 60_000),
    functions: Array.isArray(functions) ? new Set(functions.map(String)) : undefined,
    logLevels: root.section('logging').strings('logLevel'),
    http: toHttpSettings(extensions.section('http')),
    queues: toQueueSettings(extensions.section('queues')),
    durable: toDurableSettings(extensions.section('durableTask')),
  };
}

function toHttpSettings(http: Section): HttpSettings {
  const prefix = http.raw('routePrefix');
  const limits = { min: -1, max: 1_000_000 };
  return {
    routePrefix: (typeof prefix === 'string' ? prefix : 'api').replace(/^\/+|\/+$/g, ''),
    maxConcurrentRequests: http.integer('maxConcurrentRequests', -1, limits),
    maxOutstandingRequests: http.integer('maxOutstandingRequests', -1, limits),
    customHeaders: http.strings('customHeaders'),
  };
}

function toQueueSettings(queues: Section): QueueSettings {
  const batchSize = queues.integer('batchSize', 16, { min: 1, max: 32 });
  const threshold = Math.max(1, Math.floor(batchSize / 2)) * availableParallelism();
  return {
    batchSize,
    newBatchThreshold: queues.integer('newBatchThreshold', threshold, { min: 0, max: 10_000 }),
    maxDequeueCount: queues.integer('maxDequeueCount', 5, { min: 1, max: 10_000 }),
    visibilityTimeoutMs: queues.timeSpanMs('visibilityTimeout', 0),
    maxPollingIntervalMs: Math.min(
      DEV_MAX_POLLING_MS,
      Math.max(100, queues.timeSpanMs('maxPollingInterval', DEV_MAX_POLLING_MS)),
    ),
    messageEncoding: queues.oneOf('messageEncoding', ['base64', 'none'], 'base64'),
  };
}

function toDurableSettings(durable: Section): DurableSettings {
  const perCore = 10 * availableParallelism();
  const range = { min: 1, max: 100_000 };
  const hubName = durable.raw('hubName');
  return {
    hubName: typeof hubName === 'string' && hubName !== '' ? hubName : 'TestHubName',
    maxConcurrentActivityFunctions: durable.integer(
      'maxConcurrentActivityFunctions',
      perCore,
      range,
    ),
    maxConcurrentOrchestratorFunctions: durable.integer(
      'maxConcurrentOrchestratorFunctions',
      perCore,
      range,
    ),
    maxConcurrentEntityFunctions: durable.integer('maxConcurrentEntityFunctions', perCore, range),
    maxOrchestrationActions: durable.integer('maxOrchestrationActions', 100_000, {
      min: 1,
      max: 10_000_000,
    }),
    overridableExistingInstanceStates: durable.oneOf(
      'overridableExistingInstanceStates',
      ['NonRunningStates', 'AnyState'],
      'NonRunningStates',
    ),
  };
}
