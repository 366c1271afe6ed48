const { app, HttpResponse } = require('@azure/functions');

const anonymous = { authLevel: 'anonymous' };

app.http('echo', {
  ...anonymous,
  methods: ['GET', 'POST', 'HEAD'],
  handler: async (request) => ({
    headers: {
      'content-type': request.headers.get('content-type') ?? 'text/plain',
      'x-seen': 'yes',
    },
    body: await request.arrayBuffer(),
  }),
});

app.http('inspect', {
  ...anonymous,
  methods: ['GET', 'POST'],
  route: 'inspect/{name?}',
  handler: (request, context) => ({
    jsonBody: {
      url: request.url,
      method: request.method,
      query: Object.fromEntries(request.query),
      headers: Object.fromEntries(request.headers),
      params: request.params,
      hasBody: request.body !== null,
      traceParent: context.traceContext?.traceParent,
    },
  }),
});

app.http('cookies', {
  ...anonymous,
  handler: () => ({
    status: 201,
    cookies: [
      { name: 'plain', value: 'a b' },
      {
        name: 'full',
        value: 'x',
        domain: 'example.org',
        path: '/p',
        maxAge: 60,
        secure: true,
        httpOnly: true,
        sameSite: 'Strict',
        expires: new Date('2030-01-01T00:00:00Z'),
      },
      { name: 'cross', value: 'y', sameSite: 'None' },
    ],
  }),
});

const named = (name) => (request) => ({ jsonBody: { fn: name, params: request.params } });
const route = (name, template) =>
  app.http(name, { ...anonymous, methods: ['GET'], route: template, handler: named(name) });

route('itemLatest', 'items/latest');
route('itemById', 'items/{id:int:min(1)}');
route('itemByName', 'items/{name:alpha}');
route('itemDefault', 'pages/{page=first}');
route('file', 'files/{name}.{ext}');
route('rest', 'tree/{*path}');

app.http('nothing', { ...anonymous, handler: () => undefined });
app.http('fails', {
  ...anonymous,
  handler: () => {
    throw new Error('secret detail');
  },
});
app.http('badStatus', { ...anonymous, handler: () => ({ status: 99 }) });
app.http('response', {
  ...anonymous,
  handler: () => new HttpResponse({ status: 202, body: 'made by hand' }),
});
app.http('slow', {
  ...anonymous,
  handler: async (request) => {
    const ms = Number(request.query.get('ms'));
    console.log(`slow begins ${ms}`);
    await new Promise((resolve) => setTimeout(resolve, ms));
    console.log('slow ends');
    return { body: 'done' };
  },
});
app.http('guarded', { authLevel: 'function', handler: () => ({ body: 'in' }) });
app.http('locked', { authLevel: 'admin', handler: () => ({ body: 'in' }) });
app.http('switchedOff', { ...anonymous, handler: () => ({ body: 'never' }) });
app.http('stray', {
  ...anonymous,
  handler: () => {
    setTimeout(() => {
      throw new Error('nobody caught this');
    }, 10);
    return { body: 'ok' };
  },
});
