import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startProgress, type ProgressLine } from '../local/progress-line.ts';
import type { Verification } from '../src/verification/model.ts';
import { startOrJoin, waitForEnd, type ClientOptions } from './verification-client.ts';
import { CannotDo } from './app-client.ts';
import { describeVerification, exitCodeOf } from './verification-report.ts';

const HELP = `Checks every invariant on all data of a running app, and changes nothing. Work may go on meanwhile.

  npm run verify [-- options]

Options
  --url URL          origin of the app                   (default http://127.0.0.1:7071)
  --key KEY          its admin key                       (default SHARDLINE_ADMIN_KEY; none on a local host)
  --timeout SECONDS  how long to wait for the end        (default 1800)
  --json             print the result as JSON, and nothing else, on standard output
  --help             this text

Exit code: 0 all is well, 1 violations were found, 2 it could not be carried out.
A verification that runs already is joined: there is one at a time.
`;

interface Command {
  readonly json: boolean;
  readonly timeoutMs: number;
  readonly client: ClientOptions;
}

/** Reads the command line; undefined for `--help`. Throws {@link CannotDo} or a `TypeError` of `parseArgs`. */
function readCommand(args: readonly string[]): Command | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      url: { type: 'string', default: 'http://127.0.0.1:7071' },
      key: { type: 'string' },
      timeout: { type: 'string', default: '1800' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return undefined;
  if (!/^[1-9]\d{0,5}$/.test(values.timeout)) {
    throw new CannotDo('--timeout takes a whole number of seconds from 1 to 999999.');
  }
  if (!URL.canParse(values.url)) throw new CannotDo(`--url takes a URL, got "${values.url}".`);
  return {
    json: values.json,
    timeoutMs: Number(values.timeout) * 1_000,
    client: {
      url: values.url,
      key: values.key ?? process.env['SHARDLINE_ADMIN_KEY'],
      fetch: (url, init) => fetch(url, init),
      sleep: (ms) => sleep(ms),
      now: () => performance.now(),
    },
  };
}

async function verify({ client, json, timeoutMs }: Command): Promise<Verification> {
  const { verificationId, joined } = await startOrJoin(client);
  // Everything but the result goes to the error output, so that the result can be piped.
  if (joined && !json) console.error(`Joining verification ${verificationId}, which runs already.`);
  let line: ProgressLine | undefined;
  const onProgress = ({ chunksDone, chunks }: Verification['progress']): void => {
    if (chunks === 0 || json) return;
    line ??= startProgress({
      label: 'Checking',
      total: chunks,
      unit: 'chunks',
      stream: process.stderr,
    });
    line.update(chunksDone);
  };
  const result = await waitForEnd(client, { verificationId, timeoutMs, onProgress });
  line?.finish(result.progress.chunksDone);
  return result;
}

async function main(args: readonly string[]): Promise<number> {
  try {
    const command = readCommand(args);
    if (command === undefined) {
      console.log(HELP);
      return 0;
    }
    const result = await verify(command);
    console.log(command.json ? JSON.stringify(result, null, 2) : describeVerification(result));
    return exitCodeOf(result);
  } catch (error) {
    const isTold = error instanceof CannotDo || error instanceof TypeError;
    console.error(isTold ? error.message : error);
    return 2;
  }
}

process.exitCode = await main(process.argv.slice(2));
