import type { Profiler } from 'node:inspector';

/** How much of the time that the process worked went where. */
export interface Shares {
  /** Name of a part → share, 0 … 1, largest first; together 1. */
  readonly parts: ReadonlyMap<string, number>;
  /** The functions that took most themselves, largest first. */
  readonly frames: readonly { readonly name: string; readonly share: number }[];
}

/** The first that fits decides. What is sent and received belongs to the driver: nobody else uses sockets in the loop. */
const PARTS: readonly (readonly [name: string, fits: RegExp])[] = [
  ['garbage collection', /^\(garbage collector\)/],
  ['driver (mysql2)', /node_modules\/(?:mysql2|sql-escaper|named-placeholders|iconv-lite)\//],
  [
    'sockets, for the driver',
    /node:(?:net|events|buffer|internal\/(?:stream_base_commons|streams\/\w+|buffer))\b|^(?:write(?:Buffer|v|Utf8String|Latin1String)|utf8Write|latin1Write|utf8Slice|latin1Slice)$/,
  ],
  [
    'request objects (@azure/functions, fetch)',
    /node_modules\/(?:@azure\/functions|undici)\/|node:internal\/(?:deps\/undici|webstreams|url|encoding|webidl|blob)|^parse$/,
  ],
  ['request ids', /node:internal\/crypto\/random|http\/correlation\.ts|^(?:run|RandomBytesJob)$/],
  ['hashing', /sharding\/hash\.ts|node:internal\/crypto\/|^(?:oneShotDigest|digest|Hash)$/],
  ['validation (zod, src/http)', /node_modules\/zod\/|src\/http\/|kernel\/schemas\.ts/],
  ['storage (ids, map)', /node_modules\/@(?:azure|typespec)\/|src\/storage\//],
  ['groups of orders', /database\/group-writer\.ts|orders\/order-group\.ts/],
  ['database layer', /src\/database\//],
  ['orders', /src\/(?:orders|idempotency)\//],
  [
    'promises and timers',
    /^runMicrotasks$|node:timers|node:internal\/(?:process\/task_queues|timers|abort_controller)/,
  ],
  ['the bench itself', /bench\/|test\/support\//],
];

/** Left out: the profiler's own work and waiting. */
const NOT_WORK = /^(?:\(idle\)|\(root\))|node:inspector/;

/** Sums a profile of V8 by part and by function; pure. `root` is left out of file names. */
export function sharesOf(profile: Profiler.Profile, root: string, frames = 12): Shares {
  const nameOf = new Map(
    profile.nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const file = url.replace(/^file:\/\//, '').replace(`${root}/`, '');
      const place = file === '' ? '' : ` ${file}:${lineNumber + 1}`;
      return [id, `${functionName === '' ? '(anonymous)' : functionName}${place}`];
    }),
  );
  const byPart = new Map<string, number>();
  const byFrame = new Map<string, number>();
  let total = 0;
  profile.samples?.forEach((id, index) => {
    const name = nameOf.get(id) ?? '';
    if (NOT_WORK.test(name)) return;
    const micros = profile.timeDeltas?.[index] ?? 0;
    const part = PARTS.find(([, fits]) => fits.test(name))?.[0] ?? 'all else';
    total += micros;
    byPart.set(part, (byPart.get(part) ?? 0) + micros);
    byFrame.set(name, (byFrame.get(name) ?? 0) + micros);
  });
  const sorted = (sums: ReadonlyMap<string, number>): [string, number][] =>
    [...sums]
      .map(([name, micros]): [string, number] => [name, micros / total])
      .toSorted(([, a], [, b]) => b - a);
  return {
    parts: new Map(sorted(byPart)),
    frames: sorted(byFrame)
      .slice(0, frames)
      .map(([name, share]) => ({ name, share })),
  };
}
