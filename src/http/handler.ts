import type {
  FunctionInput,
  HttpFunctionOptions,
  HttpRequest,
  HttpResponseInit,
  InvocationContext,
} from '@azure/functions';
import { z } from 'zod';
import type { Config } from '../config.ts';
import type { OrchestrationClient } from '../durable/client.ts';
import { BugError, type ErrorCode } from '../kernel/errors.ts';
import { errorFields, type Logger } from '../kernel/logger.ts';
import type { Services } from '../services.ts';
import {
  discardBody,
  isRawBody,
  openRawBody,
  readJson,
  requireContentType,
  type RawBody,
  type RawBodySpec,
} from './body.ts';
import { requestIdOf, traceIdOf } from './correlation.ts';
import { problemReply } from './problem.ts';
import { parseQuery } from './query.ts';
import { callerOf, createRateLimiter, type RateLimiter } from './rate-limit.ts';
import { pickHeaders, validate, type ObjectSchema } from './validate.ts';

type Nothing = z.ZodObject<Record<never, never>>;

type BodyOf<B> = B extends z.ZodType ? z.infer<B> : B extends RawBodySpec ? RawBody : undefined;

/** What a handler gets: everything validated, nothing of the platform but `context`. */
export interface RouteRequest<P, Q, H, B, D> {
  readonly params: P;
  readonly query: Q;
  readonly headers: H;
  readonly body: B;
  readonly services: Services;
  /** Carries request, trace and invocation id. */
  readonly logger: Logger;
  readonly requestId: string;
  /** For routes with `durable: true`. */
  readonly durable: D;
  readonly context: InvocationContext;
}

export interface Reply {
  readonly status: number;
  /** Sent as JSON; nothing is sent when undefined. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ResponseSpec {
  readonly description: string;
  readonly body?: z.ZodType;
  /** Name → description. */
  readonly headers?: Readonly<Record<string, string>>;
}

interface RouteFacts {
  /** Function name and OpenAPI operation id; unique in the app, letters, digits and hyphens. */
  readonly name: string;
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below the route prefix, with `{param}`s, no leading slash. */
  readonly route: string;
  readonly auth: 'anonymous' | 'function' | 'admin';
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly responses: Readonly<Record<number, ResponseSpec>>;
  /** Codes of the problems it can answer, besides those every route can. */
  readonly errors?: readonly ErrorCode[];
}

/** A route as {@link defineRoute} takes it. Query, header and path schemas get texts; header names are lower case. */
export interface RouteDefinition<
  P extends ObjectSchema,
  Q extends ObjectSchema,
  H extends ObjectSchema,
  B extends z.ZodType | RawBodySpec | undefined,
  D extends boolean,
> extends RouteFacts {
  readonly params?: P;
  readonly query?: Q;
  readonly headers?: H;
  readonly body?: B;
  /** Gives the handler a client for orchestrations. */
  readonly durable?: D;
  readonly handle: (
    request: RouteRequest<
      z.infer<P>,
      z.infer<Q>,
      z.infer<H>,
      BodyOf<B>,
      D extends true ? OrchestrationClient : undefined
    >,
  ) => Promise<Reply>;
}

/** A defined route: its facts and schemas (for OpenAPI) and the handler, types erased. */
export interface Route extends RouteFacts {
  readonly params: ObjectSchema | undefined;
  readonly query: ObjectSchema;
  readonly headers: ObjectSchema | undefined;
  readonly body: z.ZodType | RawBodySpec | undefined;
  readonly durable: boolean;
  readonly handle: (
    request: RouteRequest<unknown, unknown, unknown, unknown, unknown>,
  ) => Promise<Reply>;
}

/** Unknown query parameters are refused, also where none are known. */
const NO_QUERY = z.strictObject({});

/** Declares a route. The schemas validate requests and make the OpenAPI document. */
export function defineRoute<
  P extends ObjectSchema = Nothing,
  Q extends ObjectSchema = Nothing,
  H extends ObjectSchema = Nothing,
  B extends z.ZodType | RawBodySpec | undefined = undefined,
  D extends boolean = false,
>(definition: RouteDefinition<P, Q, H, B, D>): Route {
  return {
    ...definition,
    params: definition.params,
    query: definition.query ?? NO_QUERY,
    headers: definition.headers,
    body: definition.body,
    durable: definition.durable ?? false,
    // The request given to `handle` is made from this definition's own schemas, see `parseRequest`.
    handle: definition.handle as Route['handle'],
  };
}

/** The part of `app` of `@azure/functions` that is used. */
export interface HttpApp {
  http(name: string, options: HttpFunctionOptions): void;
}

/** How durable routes get their client; from `durable/client.ts`. */
export interface DurableBinding {
  readonly input: FunctionInput;
  readonly clientOf: (context: InvocationContext) => OrchestrationClient;
}

/** Registers each route as a function of its own. Throws when two routes share a name, or a method and path. */
export function registerRoutes(
  app: HttpApp,
  services: Services,
  routes: readonly Route[],
  durable?: DurableBinding,
): void {
  const seen = new Set<string>();
  const rateLimiter = createRateLimiter(services.config.HTTP_RATE_PER_SECOND, services.clock);
  for (const route of routes) {
    const path = route.route.toLowerCase().replaceAll(/\{[^}]*\}/g, '{}');
    for (const key of [`name ${route.name.toLowerCase()}`, `${route.method} ${path}`]) {
      if (seen.has(key)) throw new BugError(`two HTTP routes with the same ${key}`);
      seen.add(key);
    }
    if (route.durable && durable === undefined) {
      throw new BugError(`route ${route.name} is durable, but no durable binding was given`);
    }
    app.http(route.name, {
      methods: [route.method],
      route: route.route,
      authLevel: route.auth,
      ...(route.durable && durable !== undefined && { extraInputs: [durable.input] }),
      handler: (request, context) =>
        answer(route, {
          services,
          durable,
          request,
          context,
          // Health and operations must answer when it matters most.
          rateLimiter: route.auth === 'function' ? rateLimiter : undefined,
        }),
    });
  }
}

interface Invocation {
  readonly services: Services;
  readonly durable: DurableBinding | undefined;
  readonly request: HttpRequest;
  readonly context: InvocationContext;
  readonly rateLimiter: RateLimiter | undefined;
}

/** One request from beginning to end: never throws, logs one line. */
async function answer(route: Route, invocation: Invocation): Promise<HttpResponseInit> {
  const { services, request, context } = invocation;
  const startedMs = services.clock.monotonicMs();
  const requestId = requestIdOf(request.headers.get('x-request-id'));
  const logger = services.logger.with({
    requestId,
    traceId:
      services.telemetry.ids()?.traceId ??
      traceIdOf(request.headers.get('traceparent'), context.traceContext?.traceParent),
    invocationId: context.invocationId,
    functionName: route.name,
  });
  const complete = (status: number, errorCode?: ErrorCode): void =>
    logger.log('info', 'http.request_completed', {
      method: route.method,
      route: route.route,
      status,
      durationMs: Math.round(services.clock.monotonicMs() - startedMs),
      ...(errorCode !== undefined && { errorCode }),
    });
  try {
    const reply = await route.handle(await parseRequest(route, invocation, requestId, logger));
    const response = toResponse(reply, requestId);
    complete(reply.status);
    return response;
  } catch (error) {
    const instance = new URL(request.url).pathname;
    const { status, problem, headers } = problemReply(error, { instance, requestId });
    if (status >= 500) logger.log('error', 'http.request_failed', errorFields(error));
    discardBody(request);
    complete(status, problem.code);
    return toResponse({ status, body: problem, headers }, requestId, 'application/problem+json');
  }
}

type AnyRequest = RouteRequest<unknown, unknown, unknown, unknown, unknown>;

async function parseRequest(
  route: Route,
  { services, durable, request, context, rateLimiter }: Invocation,
  requestId: string,
  logger: Logger,
): Promise<AnyRequest> {
  rateLimiter?.(callerOf(request));
  // Everything that needs no body comes first, so that a bad request is answered before its body is read.
  const params = validate(route.params, request.params, '/params');
  const query = validate(route.query, parseQuery(request.url), '/query');
  const headers = validate(route.headers, pickHeaders(route.headers, request.headers), '/headers');
  return {
    params,
    query,
    headers,
    body: await parseBody(route, services.config, request),
    services,
    logger,
    requestId,
    durable: route.durable ? durable?.clientOf(context) : undefined,
    context,
  };
}

async function parseBody(route: Route, config: Config, request: HttpRequest): Promise<unknown> {
  const { body } = route;
  if (body === undefined) return undefined;
  if (isRawBody(body)) {
    return openRawBody(request, {
      contentTypes: body.contentTypes,
      maxBytes: body.maxBytes(config),
    });
  }
  requireContentType(request, ['application/json']);
  return validate(body, await readJson(request, config.MAX_BODY_BYTES), '');
}

function toResponse(
  reply: Reply,
  requestId: string,
  contentType = 'application/json; charset=utf-8',
): HttpResponseInit {
  const headers: Record<string, string> = {
    ...reply.headers,
    'x-request-id': requestId,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  };
  if (reply.body === undefined) return { status: reply.status, headers };
  return {
    status: reply.status,
    headers: { ...headers, 'content-type': contentType },
    body: JSON.stringify(reply.body),
  };
}
