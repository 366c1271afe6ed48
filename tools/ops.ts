import { setTimeout as sleep } from 'node:timers/promises';
import { startProgress, type ProgressLine } from '../local/progress-line.ts';
import { assertNever } from '../src/kernel/exhaustive.ts';
import type { Rebalance } from '../src/rebalancing/run-model.ts';
import { CannotDo } from './app-client.ts';
import { operateMaintenance } from './maintenance.ts';
import { readCommand, type Command } from './ops-arguments.ts';
import {
  askForPlan,
  controlRebalance,
  readStatus,
  startRebalance,
  watchRebalance,
  type ClientOptions,
} from './ops-client.ts';
import { describePlan, describeRun, exitCodeOf } from './ops-report.ts';

const HELP = `Operates a running app.

  npm run ops -- maintenance --help                        statistics and rebuilds, nightly or now

  npm run ops -- rebalance [--dry-run] [options]           show which buckets would move; changes nothing
  npm run ops -- rebalance --yes PLANHASH [--watch] [...]  carry out the plan that was shown, and no other
  npm run ops -- rebalance status ID [--watch]
  npm run ops -- rebalance pause|resume|cancel ID

Options
  --target-shards N|A,B,…  how many (the first N of SHARDS), or which, share the buckets   (default all)
  --drain A,B,…            shards that own nothing afterwards
  --weights 3=2,0=0.5      shares of shards relative to each other; 1 for the others
  --max-buckets N          moves at most
  --concurrency N          buckets moved at once, at most REBALANCE_MAX_MOVES
  --watch                  wait for the end, with progress
  --url URL                origin of the app          (default http://127.0.0.1:7071)
  --key KEY                its admin key              (default SHARDLINE_ADMIN_KEY; none on a local host)
  --json                   print the answer as JSON, and nothing else, on standard output
  --help                   this text

Exit code: 0 done, 1 the rebalance that was waited for was cancelled, paused or failed, or a plan has problems,
2 it could not be carried out.
`;

async function run(command: Command): Promise<number> {
  const client: ClientOptions = {
    url: command.url,
    key: command.key,
    fetch: (url, init) => fetch(url, init),
    sleep: (ms) => sleep(ms),
  };
  const show = (value: unknown, words: string): void => {
    console.log(command.json ? JSON.stringify(value, null, 2) : words);
  };
  switch (command.verb) {
    case 'plan': {
      const plan = await askForPlan(client, command.wanted);
      const next = `Carry it out with: npm run ops -- rebalance … --yes ${plan.planHash}\n`;
      show(plan, describePlan(plan) + (plan.moves.length === 0 ? '' : next));
      return plan.preflight.problems.length === 0 ? 0 : 1;
    }
    case 'start': {
      const started = await startRebalance(client, command.wanted, command.planHash);
      if (started.kind === 'nothing-to-do') {
        show(started.plan, 'Nothing to move: the buckets lie as they should.');
        return 0;
      }
      const { rebalanceId } = started;
      if (command.watch) return await watch(client, command, rebalanceId);
      show(
        started,
        `Rebalance ${rebalanceId} runs. Watch it with: npm run ops -- rebalance status ${rebalanceId} --watch`,
      );
      return 0;
    }
    case 'status': {
      if (command.watch) return await watch(client, command, command.id);
      const found = await readStatus(client, command.id);
      show(found, describeRun(found));
      return 0;
    }
    case 'pause':
    case 'resume':
    case 'cancel': {
      await controlRebalance(client, command.id, command.verb);
      const found = await readStatus(client, command.id);
      show(found, describeRun(found));
      return 0;
    }
    default:
      return assertNever(command);
  }
}

/** Everything but the result goes to the error output, so that the result can be piped. */
async function watch(client: ClientOptions, { json }: Command, id: string): Promise<number> {
  let line: ProgressLine | undefined;
  const onProgress = ({ progress }: Rebalance): void => {
    if (json) return;
    line ??= startProgress({
      label: 'Moving',
      total: progress.buckets,
      unit: 'buckets',
      stream: process.stderr,
    });
    line.update(progress.bucketsDone);
  };
  const ended = await watchRebalance(client, id, onProgress);
  line?.finish(ended.progress.bucketsDone);
  console.log(json ? JSON.stringify(ended, null, 2) : describeRun(ended));
  return exitCodeOf(ended);
}

async function main(args: readonly string[]): Promise<number> {
  try {
    if (args[0] === 'maintenance') return await operateMaintenance(args.slice(1), process.env);
    const command = readCommand(args, process.env);
    if (command === undefined) {
      console.log(HELP);
      return 0;
    }
    return await run(command);
  } catch (error) {
    const isTold = error instanceof CannotDo || error instanceof TypeError;
    console.error(isTold ? error.message : error);
    return 2;
  }
}

process.exitCode = await main(process.argv.slice(2));
