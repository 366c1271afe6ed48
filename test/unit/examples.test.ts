import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Route } from '../../src/http/handler.ts';
import { PROBLEM_KINDS } from '../../src/http/problem.ts';
import type { ErrorCode } from '../../src/kernel/errors.ts';
import { allRoutes as routes } from '../../src/routes.ts';
import { fillIn, parseHttpFile } from '../support/http-file.ts';

/** The examples fit the routes; that they also do what they say is checked against the running app (test/e2e). */
const FOLDER = new URL('../../examples/', import.meta.url);
const requests = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.http'))
  .toSorted()
  .flatMap((file) =>
    parseHttpFile(readFileSync(new URL(file, FOLDER), 'utf8')).map((request) => ({
      file,
      ...request,
    })),
  );

function routeOf(request: { method: string; url: string }): Route | undefined {
  const path = request.url.replace('{{host}}/api/', '').replace(/\?.*$/, '');
  return routes.find(
    (route) =>
      route.method === request.method &&
      new RegExp(`^${route.route.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path),
  );
}

describe('examples', () => {
  test.each(requests)('$file: $title', (request) => {
    const route = routeOf(request);
    expect(route?.name).toBeDefined();
    const { status, code } = request.expected;
    const answers = Object.keys(route?.responses ?? {}).map(Number);
    expect(code === undefined ? answers : [PROBLEM_KINDS[code as ErrorCode].status]).toContain(
      status,
    );
  });

  test('show every route, and something going wrong on most', () => {
    const shown = new Set(requests.map((request) => routeOf(request)?.name));
    expect(routes.filter((route) => !shown.has(route.name)).map((route) => route.name)).toEqual([]);
    expect(
      requests.filter((request) => request.expected.code !== undefined).length,
    ).toBeGreaterThan(12);
  });

  test('refer only to answers that come before', () => {
    const named = new Map<string, Record<string, string>>();
    const any = new Proxy({}, { get: () => '1' });
    for (const { url, body = '', name } of requests) {
      expect(() => fillIn(url + body, 'http://localhost', named)).not.toThrow();
      if (name !== undefined) named.set(name, any);
    }
  });
});
