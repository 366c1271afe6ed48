import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import functions, { app } from '@azure/functions';
import * as core from '@azure/functions-core';

// Top-level await: a host must wait for the whole module before it indexes.
await sleep(10);

app.setup({ enableHttpStream: true });

const anonymous = { authLevel: 'anonymous' };

app.http('digest', {
  ...anonymous,
  methods: ['POST'],
  route: 'digest/{label}',
  handler: async (request) => {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of request.body) {
      hash.update(chunk);
      bytes += chunk.length;
    }
    const { label } = request.params;
    const query = request.query.getAll('q');
    return { jsonBody: { label, query, bytes, sha256: hash.digest('hex'), url: request.url } };
  },
});

app.http('tellsBroken', {
  ...anonymous,
  methods: ['POST'],
  handler: async (request) => {
    try {
      for await (const chunk of request.body) console.log(`upload: ${chunk.length} bytes`);
      console.log('upload: whole');
    } catch {
      console.log('upload: broken');
    }
    return { status: 200 };
  },
});

app.http('count', {
  ...anonymous,
  methods: ['GET'],
  route: 'count/{to:int}',
  handler: (request) => {
    const to = Number(request.params.to);
    const stream = new ReadableStream({
      async start(controller) {
        for (let number = 1; number <= to; number += 1) {
          controller.enqueue(new TextEncoder().encode(`${number}\n`));
          await sleep(50);
        }
        controller.close();
      },
    });
    return new functions.HttpResponse({ headers: { 'content-type': 'text/plain' }, body: stream });
  },
});

app.http('early', {
  ...anonymous,
  methods: ['POST'],
  handler: () => ({ status: 413, body: 'too much', cookies: [{ name: 'a', value: 'b' }] }),
});
app.http('fails', {
  ...anonymous,
  handler: () => {
    throw new Error('secret detail');
  },
});
app.http('cutShort', {
  ...anonymous,
  handler: () => ({
    body: new ReadableStream({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode('first part'));
        await sleep(50);
        controller.error(new Error('the source broke'));
      },
    }),
  }),
});
app.http('nothing', { ...anonymous, handler: () => undefined });
app.http('core', {
  ...anonymous,
  handler: () => ({
    jsonBody: {
      names: Object.keys(core).filter((name) => name !== 'default'),
      same: core.default.registerHook === core.registerHook,
    },
  }),
});
