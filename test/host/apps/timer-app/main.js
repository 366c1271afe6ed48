const { app } = require('@azure/functions');
const df = require('durable-functions');

const schedule = process.env.TIMER_SCHEDULE ?? '0 0 0 1 1 *';
let attempts = 0;

app.timer('nightly', {
  schedule: '%TIMER_SCHEDULE%',
  runOnStartup: process.env.TIMER_ON_STARTUP === 'true',
  handler: (timer) => console.log(`nightly ${JSON.stringify(timer)}`),
});

app.timer('ticking', {
  schedule: '*/1 * * * * *',
  handler: async (timer) => {
    console.log(`ticking begins ${JSON.stringify(timer)}`);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    console.log('ticking ends');
  },
});

app.timer('retried', {
  schedule,
  runOnStartup: true,
  retry: { strategy: 'fixedDelay', maxRetryCount: 2, delayInterval: 0 },
  handler: (_timer, context) => {
    attempts += 1;
    console.log(`retried ${attempts} ${JSON.stringify(context.retryContext ?? null)}`);
    if (attempts < 3) throw new Error('not yet');
  },
});

df.app.orchestration('started', function* () {
  console.log('started by a timer');
});

app.timer('starter', {
  schedule,
  extraInputs: [df.input.durableClient()],
  handler: async (_timer, context) => {
    await df.getClient(context).startNew('started');
  },
});
