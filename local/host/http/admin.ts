import type { IncomingMessage, ServerResponse } from 'node:http';
import type { IndexedFunction, TypedData } from '../contracts.ts';
import { isRecord } from '../app/errors.ts';
import { textOption } from '../app/indexing.ts';
import { HOST_VERSION } from '../app/core-api.ts';
import { readBody, sendEmpty } from './messages.ts';

export interface AdminOptions {
  readonly origin: string;
  readonly functions: readonly IndexedFunction[];
  readonly routePrefix: string;
  /** Starts a function in the background with the given text; false when its trigger has no such start. */
  readonly startFunction: (fn: IndexedFunction, input: string) => boolean;
}

/** Answers a request with JSON. */
export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.length,
  });
  response.end(body);
}

/** The URL template of an HTTP function, null for the others. */
export function invokeUrl(options: AdminOptions, fn: IndexedFunction): string | null {
  if (fn.trigger.type.toLowerCase() !== 'httptrigger') return null;
  const path = textOption(fn.trigger, 'route') || fn.name;
  const parts = [options.origin, options.routePrefix, path.replace(/^\/+/, '')];
  return parts.filter((part) => part !== '').join('/');
}

function describe(options: AdminOptions, fn: IndexedFunction): Record<string, unknown> {
  return {
    name: fn.name,
    href: `${options.origin}/admin/functions/${fn.name}`,
    language: 'node',
    config: {
      name: fn.name,
      scriptFile: fn.scriptFile,
      bindings: Object.entries(fn.bindings).map(([name, binding]) => ({ ...binding, name })),
    },
    isDisabled: fn.disabled,
    isDirect: false,
    isProxy: false,
    invoke_url_template: invokeUrl(options, fn),
  };
}

function hostStatus(): Record<string, unknown> {
  return {
    id: 'shardline-local-host',
    state: 'Running',
    version: HOST_VERSION,
    versionDetails: `local host, Node ${process.versions.node}`,
    processUptime: Math.round(process.uptime() * 1000),
  };
}

/** `{"input": "…"}`; an input that is not text is passed on as its JSON. */
async function readInput(incoming: IncomingMessage): Promise<string | undefined> {
  const text = (await readBody(incoming)).toString('utf8');
  if (text.trim() === '') return '';
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return undefined;
  }
  const input = isRecord(body) ? body['input'] : undefined;
  if (input === undefined || input === null) return '';
  return typeof input === 'string' ? input : JSON.stringify(input);
}

/** Serves `/admin/...`; `path` begins after `/admin`. */
export async function handleAdmin(
  options: AdminOptions,
  request: {
    readonly incoming: IncomingMessage;
    readonly response: ServerResponse;
    readonly path: string;
  },
): Promise<void> {
  const { incoming, response } = request;
  const [area = '', name, tail, ...rest] = request.path.split('/').filter((part) => part !== '');
  const method = incoming.method ?? 'GET';
  if (method === 'GET' && area === 'host' && tail === undefined) {
    if (name === 'status') return sendJson(response, 200, hostStatus());
    if (name === 'ping') return sendEmpty(response, 200);
  }
  if (area !== 'functions' || rest.length > 0) return sendEmpty(response, 404);
  if (name === undefined && method === 'GET') {
    return sendJson(
      response,
      200,
      options.functions.map((fn) => describe(options, fn)),
    );
  }
  const wanted = decodeURIComponent(name ?? '').toLowerCase();
  const fn = options.functions.find((entry) => entry.name.toLowerCase() === wanted);
  if (fn === undefined) return sendEmpty(response, 404);
  if (method === 'GET' && tail === undefined) return sendJson(response, 200, describe(options, fn));
  if (method === 'GET' && tail === 'status') return sendJson(response, 200, {});
  if (method !== 'POST' || tail !== undefined) return sendEmpty(response, 404);
  const input = await readInput(incoming);
  if (input === undefined) {
    return sendJson(response, 400, { error: 'The body must be JSON: {"input": "<text>"}.' });
  }
  if (options.startFunction(fn, input)) return sendEmpty(response, 202);
  const hint = `A ${fn.trigger.type} function cannot be started this way.`;
  return sendJson(response, 400, { error: hint });
}

/** The trigger value of an activity or queue function that is started by hand. */
export function manualInput(input: string): TypedData {
  return input === '' ? {} : { string: input };
}
