import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { fillIn, parseHttpFile } from '../support/http-file.ts';

/** The files of `examples/`, sent as they are, in story order. */
const FOLDER = new URL('../../examples/', import.meta.url);
const files = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.http'))
  .toSorted();

let app: TestApp;
const answers = new Map<string, Readonly<Record<string, unknown>>>();
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.stop());

test.each(files)('%s', async (file) => {
  for (const request of parseHttpFile(readFileSync(new URL(file, FOLDER), 'utf8'))) {
    const path = fillIn(request.url, '', answers);
    const reply = await app.http.request(request.method, path, {
      headers: { ...request.headers },
      ...(request.body !== undefined && { body: fillIn(request.body, '', answers) }),
    });
    const { status, code } = request.expected;
    expect([request.title, reply.status, reply.json['code']], reply.text).toEqual([
      request.title,
      status,
      code,
    ]);
    if (request.name !== undefined) answers.set(request.name, reply.json);
  }
});
