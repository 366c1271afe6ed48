import { loadInProcessApp } from './in-process-app.ts';

const { df } = loadInProcessApp();

df.app.activity('add', { handler: ({ a, b }: { a: number; b: number }) => a + b });
df.app.activity('sometimes', {
  handler: (value: number) => {
    if (Math.random() < 0.4) throw new Error('try again');
    return value;
  },
});
df.app.entity('tally', (context) => {
  const value = (context.df.getState(() => 0) as number) + context.df.getInput<number>()!;
  context.df.setState(value);
  context.df.return(value);
});
df.app.orchestration('leaf', function* (context) {
  const n = Number(context.df.getInput());
  yield context.df.createTimer(new Date(context.df.currentUtcDateTime.getTime() + 5));
  return yield context.df.callActivity('add', { a: n, b: 1 });
});
df.app.orchestration('everything', function* (context) {
  const n = Number(context.df.getInput());
  const tally = new df.EntityId('tally', context.df.instanceId);
  const sums = (yield context.df.Task.all([
    ...[1, 2, 3].map((b) => context.df.callActivity('add', { a: n, b })),
    context.df.callSubOrchestrator('leaf', n),
    context.df.callActivityWithRetry('sometimes', new df.RetryOptions(2, 50), n),
  ])) as number[];
  for (const sum of sums) yield context.df.callEntity(tally, 'add', sum);
  const lock = (yield context.df.lock(tally, new df.EntityId('tally', 'shared'))) as {
    release(): void;
  };
  yield context.df.callEntity(new df.EntityId('tally', 'shared'), 'add', 1);
  lock.release();
  const total = (yield context.df.callEntity(tally, 'add', 0)) as number;
  if (n < 3) {
    context.df.continueAsNew(n + 1);
    return 0;
  }
  return total;
});
df.app.orchestration('sleeper', function* (context) {
  const dueMs = Number(context.df.getInput());
  yield context.df.createTimer(new Date(dueMs));
  return yield context.df.callActivity('add', { a: 1, b: 1 });
});

/** What `everything` returns when started with 1: (3n+6) + (n+1) + n for n = 1, 2, 3. */
export const EVERYTHING_RESULT = [1, 2, 3].reduce((sum, n) => sum + 3 * n + 6 + n + 1 + n, 0);
