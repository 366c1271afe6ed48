import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { defineRoute } from '../../../src/http/handler.ts';
import { call, facts, good, services } from '../../support/echo-route.ts';
import { createRouteCaller } from '../../support/route-caller.ts';

describe('bodies', () => {
  const json = { 'content-type': 'application/json' };

  test.each([
    ['broken', '{"amountCents":'],
    ['empty', ''],
    ['not UTF-8', Uint8Array.of(0x22, 0xff, 0xfe, 0x22)],
  ])('%s JSON is a 400', async (_, body) => {
    const reply = await call('test', { params: good.params, headers: json, body });
    expect([reply.status, reply.json['code']]).toEqual([400, 'validation-failed']);
  });

  test.each([
    'application/x-www-form-urlencoded',
    'text/plain',
    'application/json; charset=latin1',
    'application/jsonp',
  ])('%s is a 415', async (type) => {
    const body = '{"amountCents":1}';
    const reply = await call('test', {
      ...good,
      json: undefined,
      body,
      headers: { 'content-type': type },
    });
    expect([reply.status, reply.json['code']]).toEqual([415, 'unsupported-media-type']);
  });

  test('a compressed body is a 415, since nobody would unpack it', async () => {
    const reply = await call('test', { ...good, headers: { 'content-encoding': 'gzip' } });
    expect(reply.status).toBe(415);
  });

  test.each([
    'application/json',
    'Application/JSON; charset=UTF-8',
    'application/json;charset="utf-8"',
  ])('%s is taken', async (type) => {
    const reply = await call('test', { ...good, headers: { 'content-type': type } });
    expect(reply.status).toBe(200);
  });

  test('one byte too many is a 413, told before or while it comes', async () => {
    const body = JSON.stringify({ amountCents: 1, note: 'x'.repeat(1024) });
    const declared = { ...json, 'content-length': String(body.length) };
    for (const headers of [json, declared]) {
      const reply = await call('test', { params: good.params, headers, body });
      expect([reply.status, reply.json['code']]).toEqual([413, 'payload-too-large']);
    }
  });

  test('a caller who is still sending is listened to, so that the answer gets through', async () => {
    let sent = 0;
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        sent += 1;
        if (sent <= 100) controller.enqueue(new Uint8Array(1024));
        else controller.close();
      },
      cancel: () => {
        cancelled = true;
      },
    });
    const reply = await call('test', { params: good.params, headers: json, body });
    expect(reply.status).toBe(413);
    await expect.poll(() => sent).toBe(101);
    expect(cancelled).toBe(false);
  });

  test('a raw body is handed over as a stream, within the route’s own limit', async () => {
    const route = defineRoute({
      ...facts,
      method: 'POST',
      body: {
        kind: 'raw',
        contentTypes: ['application/x-ndjson', 'application/json'],
        maxBytes: () => 10,
        schemas: {},
      },
      handle: async ({ body }) => ({
        status: 200,
        body: { type: body.contentType, text: await text(body.stream) },
      }),
    });
    const raw = createRouteCaller(services, [route]);
    const headers = { 'content-type': 'application/x-ndjson' };
    const ok = await raw('test', { headers, body: '{}\n{}\n' });
    expect(ok.json).toEqual({ type: 'application/x-ndjson', text: '{}\n{}\n' });
    expect((await raw('test', { headers, body: 'x'.repeat(11) })).status).toBe(413);
    expect((await raw('test', { headers: { 'content-type': 'text/csv' }, body: 'x' })).status).toBe(
      415,
    );
  });
});
