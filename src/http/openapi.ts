import { z } from 'zod';
import { BugError, type ErrorCode } from '../kernel/errors.ts';
import { isRawBody } from './body.ts';
import type { ResponseSpec, Route } from './handler.ts';
import { API_PREFIX } from './paths.ts';
import { PROBLEM_KINDS } from './problem.ts';

type Json = Readonly<Record<string, unknown>>;

/** Problems that any route can answer; 401 where a key is asked for, 400 and 413/415 where there is something to check. */
const ALWAYS: readonly ErrorCode[] = ['validation-failed', 'too-many-requests', 'internal'];
const WITH_KEY: readonly ErrorCode[] = ['unauthorized', 'shard-unavailable', 'storage-unavailable'];
const WITH_BODY: readonly ErrorCode[] = ['payload-too-large', 'unsupported-media-type'];

const PROBLEM_SCHEMA: Json = {
  type: 'object',
  description: 'RFC 9457 problem details.',
  required: ['type', 'title', 'status', 'detail', 'instance', 'code', 'requestId'],
  properties: {
    type: { type: 'string', format: 'uri' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    instance: { type: 'string', format: 'uri-reference' },
    code: {
      type: 'string',
      enum: Object.keys(PROBLEM_KINDS).filter((code) => code !== 'configuration-invalid'),
      description: 'Stable; tell errors apart by this.',
    },
    requestId: { type: 'string' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['path', 'message'],
        properties: {
          path: {
            type: 'string',
            description:
              'JSON pointer into the body; `/query/…`, `/params/…` and `/headers/…` for the rest.',
          },
          message: { type: 'string' },
        },
      },
    },
  },
};

/** The OpenAPI 3.1 document of the routes, from the schemas that validate their requests. Throws BugError for a schema that cannot be shown. */
export function createOpenApi(routes: readonly Route[]): Json {
  const schemas: Record<string, unknown> = { Problem: PROBLEM_SCHEMA };
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = `${API_PREFIX}/${route.route}`;
    (paths[path] ??= {})[route.method.toLowerCase()] = operationOf(route, schemas);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Shardline',
      version: '1',
      description: 'Orders over many independent MySQL servers. 64-bit values are decimal text.',
    },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas,
      securitySchemes: {
        functionKey: { type: 'apiKey', in: 'header', name: 'x-functions-key' },
        adminKey: {
          type: 'apiKey',
          in: 'header',
          name: 'x-functions-key',
          description: 'The master key.',
        },
      },
    },
  };
}

type Schemas = Record<string, unknown>;

const SECURITY: Readonly<Record<Route['auth'], readonly Json[]>> = {
  anonymous: [],
  function: [{ functionKey: [] }, { adminKey: [] }],
  admin: [{ adminKey: [] }],
};

function operationOf(route: Route, schemas: Schemas): Json {
  const parameters = [
    ...parametersOf(route.params, 'path', schemas),
    ...parametersOf(route.query, 'query', schemas),
    ...parametersOf(route.headers, 'header', schemas),
  ];
  return {
    operationId: route.name,
    tags: [route.tag],
    summary: route.summary,
    ...(route.description !== undefined && { description: route.description }),
    security: SECURITY[route.auth],
    ...(parameters.length > 0 && { parameters }),
    ...(route.body !== undefined && { requestBody: bodyOf(route.body, schemas) }),
    responses: { ...problemsOf(route), ...responsesOf(route, schemas) },
  };
}

function parametersOf(
  schema: z.ZodType | undefined,
  place: 'path' | 'query' | 'header',
  schemas: Schemas,
): Json[] {
  if (schema === undefined) return [];
  const { properties = {}, required = [] } = toJsonSchema(schema, 'input', schemas) as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    schema: property,
  }));
}

function bodyOf(body: NonNullable<Route['body']>, schemas: Schemas): Json {
  const byType = isRawBody(body) ? body.schemas : { 'application/json': body };
  const content = Object.entries(byType).map(
    ([type, schema]) => [type, { schema: toJsonSchema(schema, 'input', schemas) }] as const,
  );
  return { required: true, content: Object.fromEntries(content) };
}

function responsesOf(route: Route, schemas: Schemas): Json {
  const responses = Object.entries(route.responses).map(
    ([status, spec]) => [status, responseOf(spec, schemas)] as const,
  );
  return Object.fromEntries(responses);
}

function responseOf(spec: ResponseSpec, schemas: Schemas): Json {
  const own = Object.entries(spec.headers ?? {}).map(
    ([name, description]) => [name, { description, schema: { type: 'string' } }] as const,
  );
  return {
    description: spec.description,
    headers: { ...Object.fromEntries(own), 'x-request-id': REQUEST_ID },
    ...(spec.body !== undefined && {
      content: { 'application/json': { schema: toJsonSchema(spec.body, 'output', schemas) } },
    }),
  };
}

const REQUEST_ID: Json = {
  description: 'The caller’s own, or a new one; the log knows the request by it.',
  schema: { type: 'string' },
};

/** One response per status, naming the codes it may carry. */
function problemsOf(route: Route): Json {
  const codes = [
    ...ALWAYS,
    ...(route.auth === 'anonymous' ? [] : WITH_KEY),
    ...(route.body === undefined ? [] : WITH_BODY),
    ...(route.errors ?? []),
  ];
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of new Set(codes)) {
    const { status } = PROBLEM_KINDS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const responses = [...byStatus].map(
    ([status, named]) => [status, problemOf(status, named)] as const,
  );
  return Object.fromEntries(responses);
}

function problemOf(status: number, codes: readonly ErrorCode[]): Json {
  const retryAfter = { description: 'Seconds.', schema: { type: 'string' } };
  return {
    description: codes.map((code) => `\`${code}\`: ${PROBLEM_KINDS[code].title}.`).join(' '),
    headers: {
      'x-request-id': REQUEST_ID,
      ...((status === 429 || status === 503) && { 'retry-after': retryAfter }),
    },
    content: {
      'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } },
    },
  };
}

/** A schema for the document. Those with an `id` come as a reference and are added to the components. */
function toJsonSchema(schema: z.ZodType, io: 'input' | 'output', schemas: Schemas): Json {
  const { $schema: _dialect, $defs = {}, ...root } = z.toJSONSchema(schema, { io });
  for (const [name, definition] of Object.entries($defs)) {
    const rewritten = rewriteRefs(definition);
    const known = schemas[name];
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(rewritten)) {
      throw new BugError(`two different schemas are called ${name}`);
    }
    schemas[name] = rewritten;
  }
  return rewriteRefs(root) as Json;
}

/** zod refers to `#/$defs/X`; in OpenAPI all operations share the definitions. */
function rewriteRefs(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(rewriteRefs);
  if (typeof node !== 'object' || node === null) return node;
  return Object.fromEntries(
    Object.entries(node).map(([key, value]) => [
      key,
      key === '$ref' && typeof value === 'string'
        ? value.replace('#/$defs/', '#/components/schemas/')
        : rewriteRefs(value),
    ]),
  );
}
