import { parseArgs } from 'node:util';
import { CannotDo } from './app-client.ts';
import type { Wanted } from './ops-client.ts';

export interface Common {
  readonly url: string;
  readonly key: string | undefined;
  readonly json: boolean;
}

/** What the command line asks for. */
export type Command = Common &
  (
    | { readonly verb: 'plan'; readonly wanted: Wanted }
    | {
        readonly verb: 'start';
        readonly wanted: Wanted;
        readonly planHash: string;
        readonly watch: boolean;
      }
    | { readonly verb: 'status'; readonly id: string; readonly watch: boolean }
    | { readonly verb: 'pause' | 'resume' | 'cancel'; readonly id: string }
  );

/** Reads the command line; undefined for `--help`. Throws {@link CannotDo}, or a `TypeError` of `parseArgs`. Pure but for `env`. */
export function readCommand(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Command | undefined {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      url: { type: 'string', default: 'http://127.0.0.1:7071' },
      key: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      watch: { type: 'boolean', default: false },
      yes: { type: 'string' },
      'dry-run': { type: 'boolean', default: false },
      'target-shards': { type: 'string' },
      drain: { type: 'string' },
      weights: { type: 'string' },
      'max-buckets': { type: 'string' },
      concurrency: { type: 'string' },
    },
  });
  const [command, verb, id, ...more] = positionals;
  if (values.help || command === undefined) return undefined;
  if (command !== 'rebalance' || more.length > 0) {
    throw new CannotDo(`There is no command "${positionals.join(' ')}"; --help shows all.`);
  }
  if (!URL.canParse(values.url)) throw new CannotDo(`--url takes a URL, got "${values.url}".`);
  const common = {
    url: values.url,
    key: values.key ?? env['SHARDLINE_ADMIN_KEY'],
    json: values.json,
  };
  if (verb === undefined) {
    const wanted = readWanted(values);
    if (values.yes === undefined) {
      if (values.watch) throw new CannotDo('--watch needs --yes PLANHASH: a plan has no progress.');
      return { ...common, verb: 'plan', wanted };
    }
    if (values['dry-run']) throw new CannotDo('Either --dry-run or --yes PLANHASH, not both.');
    return { ...common, verb: 'start', wanted, planHash: values.yes, watch: values.watch };
  }
  if (verb !== 'status' && verb !== 'pause' && verb !== 'resume' && verb !== 'cancel') {
    throw new CannotDo(`There is no command "rebalance ${verb}"; --help shows all.`);
  }
  if (id === undefined) throw new CannotDo(`rebalance ${verb} takes the id of a rebalance.`);
  return verb === 'status' ? { ...common, verb, id, watch: values.watch } : { ...common, verb, id };
}

function readWanted(values: {
  readonly 'target-shards'?: string | undefined;
  readonly drain?: string | undefined;
  readonly weights?: string | undefined;
  readonly 'max-buckets'?: string | undefined;
  readonly concurrency?: string | undefined;
}): Wanted {
  const { 'target-shards': targets, drain, weights, 'max-buckets': most, concurrency } = values;
  return {
    ...(targets !== undefined && {
      // One number is how many; a list (also `3,`) says which.
      targetShards: targets.includes(',')
        ? readList('--target-shards', targets)
        : readNumber('--target-shards', targets),
    }),
    ...(drain !== undefined && { drain: readList('--drain', drain) }),
    ...(weights !== undefined && { weights: readWeights(weights) }),
    ...(most !== undefined && { maxBuckets: readNumber('--max-buckets', most) }),
    ...(concurrency !== undefined && { concurrency: readNumber('--concurrency', concurrency) }),
  };
}

/** Numbers, separated by commas. Throws {@link CannotDo}. */
export function readList(option: string, text: string): number[] {
  return text
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => readNumber(option, part));
}

/** `SHARD=WEIGHT`, separated by commas. Throws {@link CannotDo}. */
function readWeights(text: string): Record<string, number> {
  const entries = text.split(',').map((part): [string, number] => {
    const match = /^\s*(\d{1,3})=(\d{1,3}(?:\.\d{1,3})?)\s*$/.exec(part);
    if (match === null) {
      throw new CannotDo(`--weights takes SHARD=WEIGHT, separated by commas, got "${part}".`);
    }
    return [String(Number(match[1])), Number(match[2])];
  });
  return Object.fromEntries(entries);
}

function readNumber(option: string, text: string): number {
  if (/^\s*\d{1,4}\s*$/.test(text)) return Number(text);
  throw new CannotDo(`${option} takes whole numbers, got "${text}".`);
}
