import type { HttpFunctionOptions, HttpRequest, InvocationContext } from '@azure/functions';
import { registerRoutes, type DurableBinding, type Route } from '../../src/http/handler.ts';
import type { Services } from '../../src/services.ts';

export interface RouteCall {
  readonly method?: string;
  /** Below the origin, with query. */
  readonly path?: string;
  readonly params?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | ReadableStream<Uint8Array>;
  /** Sent as JSON with its content type. */
  readonly json?: unknown;
}

export interface RouteReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** `{}` when there is no body. */
  readonly json: Readonly<Record<string, unknown>>;
}

/** Registers routes as the app does and calls one by its name, as the worker would. */
export function createRouteCaller(
  services: Services,
  routes: readonly Route[],
  durable?: DurableBinding,
): (name: string, call?: RouteCall) => Promise<RouteReply> {
  const functions = new Map<string, HttpFunctionOptions>();
  const app = {
    http: (name: string, options: HttpFunctionOptions) => functions.set(name, options),
  };
  registerRoutes(app, services, routes, durable);
  return async (name, call = {}) => {
    const options = functions.get(name);
    if (options === undefined) throw new Error(`there is no route ${name}`);
    const request = requestOf(call, options.methods?.[0] ?? 'GET');
    const context = { invocationId: 'invocation-1' } as InvocationContext;
    const reply = await options.handler(request, context);
    const {
      status = 0,
      headers = {},
      body,
    } = reply as {
      status?: number;
      headers?: Record<string, string>;
      body?: string;
    };
    const json = body === undefined ? {} : (JSON.parse(body) as Record<string, unknown>);
    return { status, headers, text: body ?? '', json };
  };
}

function requestOf(call: RouteCall, method: string): HttpRequest {
  const body = call.json === undefined ? call.body : JSON.stringify(call.json);
  const native = new Request(`http://localhost:7071${call.path ?? '/api/test'}`, {
    method: call.method ?? method,
    headers: {
      ...(call.json === undefined ? {} : { 'content-type': 'application/json' }),
      ...call.headers,
    },
    ...(body === undefined ? {} : { body, duplex: 'half' }),
  } as RequestInit);
  return {
    method: native.method,
    url: native.url,
    headers: native.headers,
    body: native.body,
    params: { ...call.params },
  } as unknown as HttpRequest;
}
