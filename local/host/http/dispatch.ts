import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DurableRuntime, HostLogger, IndexedFunction, Invoker } from '../contracts.ts';
import { errorMessage, errorStack, HostStartError } from '../app/errors.ts';
import type { HttpSettings } from '../app/host-json.ts';
import { isType, textOption } from '../app/indexing.ts';
import { settledWithin } from '../settled-within.ts';
import { handleAdmin, sendJson, type AdminOptions } from './admin.ts';
import { RequestGate } from './concurrency.ts';
import type { DurableAccess } from './durable-access.ts';
import { accessLevel, isAllowed, type HostKeys } from './keys.ts';
import {
  readBody,
  requestHeaders,
  sendEmpty,
  sendHttpData,
  sendUnauthorized,
  toHttpData,
} from './messages.ts';
import { parseRouteTemplate } from './route-template.ts';
import { Router, type Route } from './router.ts';
import type { RequestHandler } from './server.ts';
import type { LibraryServer } from './streamed-answer.ts';
import { streamInvocation } from './streaming.ts';

const DURABLE_BASE = '/runtime/webhooks/durabletask';

export interface DispatchOptions {
  readonly functions: readonly IndexedFunction[];
  readonly settings: HttpSettings;
  readonly invoker: Invoker;
  /** The library's server, of an app that streams. */
  readonly streaming: LibraryServer | undefined;
  /** Undefined leaves every endpoint open. */
  readonly keys: HostKeys | undefined;
  readonly admin: AdminOptions;
  readonly durable: DurableRuntime | undefined;
  /** Present together with `keys`. */
  readonly durableAccess: DurableAccess | undefined;
  readonly logger: HostLogger;
}

interface Exchange {
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
}

const DEFAULT_METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE'];

/**
 * Makes the routes of all enabled HTTP functions. Throws {@link HostStartError} naming the function
 * whose template is wrong.
 */
export function createRoutes(
  functions: readonly IndexedFunction[],
  routePrefix: string,
): readonly Route<IndexedFunction>[] {
  const http = functions.filter((fn) => isType(fn.trigger, 'httpTrigger') && !fn.disabled);
  return http.map((fn) => {
    const { methods } = fn.trigger;
    const path = textOption(fn.trigger, 'route') || fn.name;
    const named = Array.isArray(methods) && methods.length > 0 ? methods : DEFAULT_METHODS;
    try {
      return {
        segments: parseRouteTemplate(`${routePrefix}/${path.replace(/^\/+/, '')}`),
        methods: new Set(named.map((method) => String(method).toUpperCase())),
        target: fn,
      };
    } catch (error) {
      throw new HostStartError(
        `Function "${fn.name}": the route "${path}" is wrong: ${errorMessage(error)}.`,
        error,
      );
    }
  });
}

export interface Dispatcher {
  readonly handle: RequestHandler;
  /**
   * Refuses HTTP functions from now on (503) and waits up to `drainMs` for the running ones. The
   * durable API stays open meanwhile, because running functions call it through this very server.
   */
  close(drainMs: number): Promise<void>;
}

/** Answers every request of the host: functions, `/admin`, the durable API, the start page. */
export function createDispatcher(options: DispatchOptions): Dispatcher {
  const router = new Router(createRoutes(options.functions, options.settings.routePrefix));
  const gate = new RequestGate(options.settings);
  const customHeaders = Object.entries(options.settings.customHeaders);
  const handle: RequestHandler = async (incoming, response, url) => {
    const exchange = { incoming, response, url };
    const lower = url.pathname.toLowerCase();
    if (lower === '/admin' || lower.startsWith('/admin/')) return admin(options, exchange);
    const rpcPath = options.durableAccess?.rpcPath;
    if (rpcPath !== undefined && url.pathname.startsWith(`${rpcPath}/`)) {
      return manageDurable(options, exchange, rpcPath.length);
    }
    if (lower === DURABLE_BASE || lower.startsWith(`${DURABLE_BASE}/`)) {
      if (!isAllowed(options.keys, 'system', exchange)) return sendUnauthorized(response);
      return manageDurable(options, exchange, DURABLE_BASE.length);
    }
    for (const [name, value] of customHeaders) response.setHeader(name, value);
    const match = router.match(incoming.method ?? 'GET', url.pathname);
    if (match !== undefined) return runGated(options, gate, { ...exchange, ...match });
    if (url.pathname === '/' && incoming.method === 'GET') {
      return void response
        .writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
        .end('The local Functions host is running. See /admin/functions.\n');
    }
    return sendEmpty(response, 404);
  };
  return {
    handle,
    close: async (drainMs) => void (await settledWithin(gate.close(), drainMs)),
  };
}

async function admin(options: DispatchOptions, exchange: Exchange): Promise<void> {
  const path = exchange.url.pathname.slice('/admin'.length);
  if (path !== '/host/ping' && !isAllowed(options.keys, 'admin', exchange)) {
    sendUnauthorized(exchange.response);
    return;
  }
  await handleAdmin(options.admin, { ...exchange, path });
}

async function manageDurable(
  options: DispatchOptions,
  exchange: Exchange,
  baseLength: number,
): Promise<void> {
  const { incoming, response, url } = exchange;
  if (options.durable === undefined) {
    return sendJson(response, 404, { Message: 'This app has no durable functions.' });
  }
  const answer = await options.durable.manage({
    method: incoming.method ?? 'GET',
    path: url.pathname.slice(baseLength) || '/',
    query: url.searchParams,
    headers: requestHeaders(incoming),
    body: (await readBody(incoming)).toString('utf8'),
  });
  // Only a 202 hands out URLs; other answers hold the app's own data.
  const access = answer.status === 202 ? options.durableAccess : undefined;
  const withKey = (text: string): string => access?.withKey(text) ?? text;
  const body = Buffer.from(withKey(answer.body));
  const headers = Object.entries(answer.headers).map(([name, value]) => [name, withKey(value)]);
  response.writeHead(answer.status, {
    ...(Object.fromEntries(headers) as Record<string, string>),
    'content-length': body.length,
  });
  response.end(body);
}

interface FunctionExchange extends Exchange {
  readonly target: IndexedFunction;
  readonly params: Readonly<Record<string, string>>;
}

async function runGated(
  options: DispatchOptions,
  gate: RequestGate,
  exchange: FunctionExchange,
): Promise<void> {
  const { response, target } = exchange;
  if (!isAllowed(options.keys, accessLevel(target.trigger['authLevel']), exchange)) {
    sendUnauthorized(response);
    return;
  }
  const leave = await gate.enter();
  if (leave === undefined) {
    const headers = { 'retry-after': '1', ...(gate.isClosed ? { connection: 'close' } : {}) };
    sendEmpty(response, gate.isClosed ? 503 : 429, headers);
    return;
  }
  const started = performance.now();
  try {
    await runFunction(options, exchange);
    options.logger.log('debug', 'http_executed', {
      function: target.name,
      status: response.statusCode,
      durationMs: Math.round(performance.now() - started),
    });
  } catch (error) {
    options.logger.log('error', 'http_function_failed', {
      function: target.name,
      message: errorMessage(error),
      stack: errorStack(error instanceof Error ? (error.cause ?? error) : error),
    });
    throw error;
  } finally {
    leave();
  }
}

async function runFunction(options: DispatchOptions, exchange: FunctionExchange): Promise<void> {
  const { incoming, response, url, params, target: fn } = exchange;
  const header = incoming.headers['traceparent'];
  const traceParent = typeof header === 'string' ? header : undefined;
  if (options.streaming !== undefined) {
    await streamInvocation(options.invoker, options.streaming, { ...exchange, fn, traceParent });
    return;
  }
  const data = toHttpData({
    method: incoming.method ?? 'GET',
    url,
    headers: requestHeaders(incoming),
    params,
    body: await readBody(incoming),
  });
  const result = await options.invoker.invoke({
    fn,
    triggerData: data,
    triggerMetadata: {},
    ...(traceParent === undefined ? {} : { traceParent }),
  });
  sendHttpData(response, result.returnValue);
}
