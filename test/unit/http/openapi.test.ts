import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { defineRoute, type Route } from '../../../src/http/handler.ts';
import { createOpenApi } from '../../../src/http/openapi.ts';
import { allRoutes as routes } from '../../../src/routes.ts';

const document = createOpenApi(routes) as {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, unknown>; securitySchemes: Record<string, unknown> };
};

interface Operation {
  operationId: string;
  security: Record<string, unknown>[];
  parameters?: { name: string; in: string; required: boolean; schema: Record<string, unknown> }[];
  requestBody?: { content: Record<string, { schema: unknown }> };
  responses: Record<
    string,
    { description: string; content?: Record<string, { schema: Record<string, unknown> }> }
  >;
}

const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);

function nodes(node: unknown): Record<string, unknown>[] {
  if (typeof node !== 'object' || node === null) return [];
  return [node as Record<string, unknown>, ...Object.values(node).flatMap(nodes)];
}

describe('the OpenAPI document', () => {
  test('is plain JSON', () => {
    expect(JSON.parse(JSON.stringify(document))).toEqual(document);
    expect(document.openapi).toBe('3.1.0');
  });

  test('shows every route once', () => {
    expect(operations).toHaveLength(routes.length);
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(Object.keys(document.paths)).toContain('/api/users/{userId}/orders/{orderId}');
  });

  test('no reference dangles, none is local to a schema, no component is unused', () => {
    const references = nodes(document).flatMap(({ $ref }) =>
      typeof $ref === 'string' ? [$ref] : [],
    );
    const known = Object.keys(document.components.schemas).map((n) => `#/components/schemas/${n}`);
    expect(known).toEqual(expect.arrayContaining([...new Set(references)]));
    expect(known.toSorted()).toEqual([...new Set(references)].toSorted());
  });

  test('every path parameter is declared and required, and no other is', () => {
    for (const { path, operation } of operations) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      const declared = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
      expect(declared.map((parameter) => parameter.name)).toEqual(inPath);
      expect(declared.every((parameter) => parameter.required)).toBe(true);
    }
  });

  test('security schemes exist, and follow the kind of route', () => {
    const schemes = Object.keys(document.components.securitySchemes);
    for (const { path, operation } of operations) {
      const named = operation.security.flatMap((entry) => Object.keys(entry));
      expect(schemes).toEqual(expect.arrayContaining(named));
      const expected = path.startsWith('/api/ops/')
        ? ['adminKey']
        : /health|openapi/.test(path)
          ? []
          : ['functionKey', 'adminKey'];
      expect([path, named]).toEqual([path, expected]);
    }
  });

  test('every response is described; problems are problem+json', () => {
    const responses = operations.flatMap(({ path, operation }) =>
      Object.entries(operation.responses).map(([status, response]) => ({ path, status, response })),
    );
    expect(responses.filter(({ response }) => response.description === '')).toEqual([]);
    const problems = responses.filter(
      ({ path, status }) => Number(status) >= 400 && path !== '/api/health/ready',
    );
    const types = problems.map(({ response }) => Object.keys(response.content ?? {}).join());
    expect(new Set(types)).toEqual(new Set(['application/problem+json']));
    const withoutInternal = operations.filter(({ operation }) => !('500' in operation.responses));
    expect(withoutInternal).toEqual([]);
  });

  test('a body route tells what it takes, and refuses unknown fields', () => {
    const register = document.paths['/api/users']?.['post'];
    const schema = { $ref: '#/components/schemas/RegisterUser' };
    expect(register?.requestBody).toMatchObject({ content: { 'application/json': { schema } } });
    expect(document.components.schemas['RegisterUser']).toMatchObject({
      required: ['email'],
      additionalProperties: false,
      properties: { userId: { anyOf: [{ type: 'string' }, { type: 'integer' }] } },
    });
    expect(Object.keys(register?.responses ?? {})).toEqual(
      expect.arrayContaining(['200', '201', '400', '401', '409', '413', '415', '429', '503']),
    );
  });

  test('query limits and defaults are shown', () => {
    const list = document.paths['/api/users/{userId}/orders']?.['get'];
    expect(list?.parameters).toContainEqual({
      name: 'limit',
      in: 'query',
      required: false,
      schema: { type: 'integer', minimum: 1, maximum: 1000, description: 'Default 100.' },
    });
  });

  test('a raw body is shown per media type', () => {
    const raw = defineRoute({
      name: 'raw',
      method: 'POST',
      route: 'raw',
      auth: 'function',
      tag: 'Test',
      summary: 'Raw',
      body: {
        kind: 'raw',
        contentTypes: ['application/x-ndjson'],
        maxBytes: () => 1,
        schemas: { 'application/x-ndjson': z.string() },
      },
      responses: { 202: { description: 'Taken.' } },
      handle: () => Promise.resolve({ status: 202 }),
    });
    expect(createOpenApi([raw])).toMatchObject({
      paths: {
        '/api/raw': {
          post: {
            requestBody: { content: { 'application/x-ndjson': { schema: { type: 'string' } } } },
          },
        },
      },
    });
  });

  test('two schemas of one name are a bug', () => {
    const route = (name: string, body: z.ZodType): Route =>
      defineRoute({
        name,
        method: 'GET',
        route: name,
        auth: 'anonymous',
        tag: 'Test',
        summary: name,
        responses: { 200: { description: 'ok', body } },
        handle: () => Promise.resolve({ status: 200 }),
      });
    // `meta` registers the name for each schema; the second takes it over, as a careless copy would.
    const one = z.object({ a: z.string() }).meta({ id: 'Twin' });
    const two = z.object({ b: z.string() }).meta({ id: 'Twin' });
    expect(() => createOpenApi([route('one', one), route('two', two)])).toThrow('Twin');
  });
});
