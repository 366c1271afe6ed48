/**
 * Measures the durable runtime alone: activities and turns per second with activities that do nothing.
 * Run with `npx node --disable-warning=ExperimentalWarning test/host/durable/support/throughput.ts`.
 */
import { loadInProcessApp } from './in-process-app.ts';
import { startTestHost } from './test-host.ts';

const { df } = loadInProcessApp();
df.app.activity('noop', { handler: (value: number) => value });
df.app.orchestration('fan', function* (context) {
  const width = Number(context.df.getInput());
  yield context.df.Task.all(
    Array.from({ length: width }, (_, i) => context.df.callActivity('noop', i)),
  );
});
df.app.orchestration('chain', function* (context) {
  for (let i = 0; i < Number(context.df.getInput()); i += 1) {
    yield context.df.callActivity('noop', i);
  }
});

const host = await startTestHost({
  settings: { maxConcurrentActivityFunctions: 20, maxConcurrentOrchestratorFunctions: 20 },
});

async function measure(
  label: string,
  starts: number,
  name: string,
  input: number,
  expectedTurns: number | null,
): Promise<void> {
  const startedMs = performance.now();
  const ids = await Promise.all(Array.from({ length: starts }, () => host.start(name, input)));
  for (const id of ids) await host.finished(id, 120_000);
  const seconds = (performance.now() - startedMs) / 1000;
  const activities = Math.round((starts * input) / seconds);
  const turns = expectedTurns === null ? '' : `, ${Math.round(expectedTurns / seconds)} turns/s`;
  process.stdout.write(`${label}: ${seconds.toFixed(2)} s, ${activities} activities/s${turns}\n`);
}

await measure('warm-up', 50, 'chain', 10, null);
await measure('fan-out of 1000', 1, 'fan', 1000, null);
await measure('fan-out of 5000', 1, 'fan', 5000, null);
await measure('50 fan-outs of 100', 50, 'fan', 100, null);
await measure('500 chains of 10', 500, 'chain', 10, 500 * 11);
await host.dispose();
