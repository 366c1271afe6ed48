import { setTimeout as sleep } from 'node:timers/promises';
import { app, output } from '@azure/functions';

const connection = 'Orders';
const seen = [];
let running = 0;
let mostRunning = 0;

app.storageQueue('collect', {
  queueName: '%COLLECT_QUEUE%',
  connection,
  handler: async (message, context) => {
    running += 1;
    mostRunning = Math.max(mostRunning, running);
    if (message?.waitMs !== undefined) {
      console.log('collect waits');
      await sleep(message.waitMs);
    }
    running -= 1;
    const isBytes = Buffer.isBuffer(message);
    seen.push({
      message: isBytes ? message.toString('hex') : message,
      meta: context.triggerMetadata,
    });
  },
});

app.storageQueue('fail', {
  queueName: 'fails',
  connection,
  handler: (message, context) => {
    console.log(`fail attempt ${context.triggerMetadata.dequeueCount}`);
    throw new Error(`cannot take ${message}`);
  },
});

app.storageQueue('route', {
  queueName: 'orders',
  connection,
  return: output.storageQueue({ queueName: 'region-{region}', connection }),
  handler: (message) => ({ routed: message.id }),
});

app.storageQueue('poisonReader', {
  queueName: 'fails-poison',
  connection,
  handler: (message) => {
    seen.push({ poison: message });
  },
});

const extra = output.storageQueue({ queueName: 'collected', connection });
app.http('send', {
  authLevel: 'anonymous',
  methods: ['POST'],
  extraOutputs: [extra],
  handler: async (request, context) => {
    context.extraOutputs.set(extra, await request.json());
    return { status: 202 };
  },
});
app.http('seen', {
  authLevel: 'anonymous',
  methods: ['GET'],
  handler: () => ({ jsonBody: { seen, mostRunning } }),
});
