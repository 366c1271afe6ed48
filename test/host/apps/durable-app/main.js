import { app } from '@azure/functions';
import * as df from 'durable-functions';

df.app.activity('greet', { handler: (name) => `Hello ${name}` });

df.app.orchestration('greetAll', function* (context) {
  const names = context.df.getInput();
  const tasks = names.map((name) => context.df.callActivity('greet', name));
  return yield context.df.Task.all(tasks);
});

df.app.orchestration('waits', function* (context) {
  return yield context.df.waitForExternalEvent('go');
});

app.http('start', {
  authLevel: 'anonymous',
  methods: ['POST'],
  route: 'start/{name}',
  extraInputs: [df.input.durableClient()],
  handler: async (request, context) => {
    const client = df.getClient(context);
    const waitMs = Number(request.query.get('waitMs') ?? 0);
    console.log(`start waits ${waitMs}`);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    const id = await client.startNew(request.params.name, { input: await request.json() });
    return client.createCheckStatusResponse(request, id);
  },
});

app.http('result', {
  authLevel: 'anonymous',
  methods: ['GET'],
  route: 'result/{id}',
  extraInputs: [df.input.durableClient()],
  handler: async (request, context) => {
    const status = await df.getClient(context).getStatus(request.params.id);
    return { jsonBody: { status: status.runtimeStatus, output: status.output } };
  },
});
