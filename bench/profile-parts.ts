/** Of a profile of V8 what is looked at: the tree of calls, and where in it the process was found, when. */
export interface Profile {
  readonly nodes: readonly ProfileNode[];
  /** Ids of nodes, one for each look. */
  readonly samples?: readonly number[] | undefined;
  /** Microseconds before each look. */
  readonly timeDeltas?: readonly number[] | undefined;
}

export interface ProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    /** Empty for what is built into V8 or Node, and for code made at run time. */
    readonly url: string;
    /** From 0. */
    readonly lineNumber: number;
  };
  /** Ids of the nodes that it called. */
  readonly children?: readonly number[] | undefined;
}

/** How much of the time that the process worked went where. */
export interface Shares {
  /** Time seen at work, and without work, microseconds. */
  readonly workMicros: number;
  readonly idleMicros: number;
  /** Name of a part → share of the work, 0 … 1, largest first; together 1. Those of {@link ALWAYS_TOLD} are there also at 0. */
  readonly parts: ReadonlyMap<string, number>;
  /** The functions that took most themselves, without what they called, largest first. */
  readonly frames: readonly { readonly name: string; readonly share: number }[];
}

const DRIVER = 'driver (mysql2)';
const HASHING = 'hashing and routing (src/sharding)';
const VALIDATION = 'validation (zod)';
const ALWAYS_TOLD = [DRIVER, HASHING, VALIDATION];

type Part = readonly [name: string, files: RegExp];

/**
 * Whose code a file is; the first that fits. Who owns a frame owns what it calls of nobody's: native functions, code made at
 * run time, Node's buffers, sockets and digests, the small things of `src/kernel`.
 */
const OWNERS: readonly Part[] = [
  [DRIVER, /^node_modules\/(?:mysql2|sql-escaper|named-placeholders|iconv-lite|denque|lru\.min)\//],
  [VALIDATION, /^node_modules\/zod\/|^src\/kernel\/schemas\./],
  [HASHING, /^src\/sharding\//],
  [
    'request objects (@azure/functions, fetch)',
    /^node_modules\/(?:@azure\/functions|undici|cookie)\/|^node:internal\/(?:deps\/undici|webstreams|blob)/,
  ],
  ['storage account (its library)', /^node_modules\/@(?:azure|typespec)\//],
  ['request ids', /^src\/http\/correlation\./],
  ['HTTP layer (src/http)', /^src\/http\//],
  ['groups of orders', /^src\/(?:database\/group-writer|orders\/order-group)\./],
  ['database layer (src/database)', /^src\/database\//],
  ['orders', /^src\/(?:orders|idempotency)\//],
  ['the rest of the product', /^src\/(?!kernel\/)/],
  ['local host', /^local\//],
  ['the bench itself', /^(?:bench|test)\//],
  ['HTTP (Node)', /^node:_http/],
  ['output (Node)', /^node:(?:internal\/console|console|tty|internal\/tty)/],
];

/** Of Node and of nobody: what nobody named above called was begun by the loop. The first that fits. */
const OF_THE_LOOP: readonly Part[] = [
  ['sockets and streams (Node)', /^node:(?:internal\/)?(?:net|stream|stream_base_commons)\b/],
  [
    'promises and timers (Node)',
    /^node:(?:internal\/)?(?:process\/task_queues|timers|abort_controller|async_hooks|async_local_storage)/,
  ],
  ['the rest of Node', /^node:/],
];

/** What V8 calls its own. */
const OF_V8: Readonly<Record<string, string>> = {
  '(garbage collector)': 'garbage collection',
  '(program)': 'system calls and V8 (program)',
};

interface Frame {
  /** Function, file and line. */
  readonly name: string;
  readonly file: string;
  readonly kind: 'work' | 'idle' | 'ignored';
}

/**
 * Sums a profile by part and by function; pure. `root` is the folder that holds `src` and `node_modules`, or `dist` in place of
 * `src`. The profiler's own work counts neither as work nor as idle.
 */
export function sharesOf(
  profile: Profile,
  { root, frames }: { readonly root: string; readonly frames: number },
): Shares {
  const frameOf = new Map(profile.nodes.map((node) => [node.id, readFrame(node, root)]));
  const partOf = partsOf(profile.nodes, frameOf);
  const byNode = new Map<number, number>();
  profile.samples?.forEach((id, index) => add(byNode, id, profile.timeDeltas?.[index] ?? 0));
  const byPart = new Map(ALWAYS_TOLD.map((name) => [name, 0]));
  const byFrame = new Map<string, number>();
  const micros = { work: 0, idle: 0, ignored: 0 };
  for (const [id, own] of byNode) {
    const frame = frameOf.get(id);
    if (frame === undefined) continue;
    micros[frame.kind] += own;
    if (frame.kind !== 'work') continue;
    add(byPart, partOf(id), own);
    add(byFrame, frame.name, own);
  }
  const ranked = (sums: ReadonlyMap<string, number>): [string, number][] =>
    [...sums]
      .map(([name, own]): [string, number] => [name, own / Math.max(1, micros.work)])
      .toSorted(([, a], [, b]) => b - a);
  return {
    workMicros: micros.work,
    idleMicros: micros.idle,
    parts: new Map(ranked(byPart)),
    frames: ranked(byFrame)
      .slice(0, frames)
      .map(([name, share]) => ({ name, share })),
  };
}

/** Shares and times as rows to print, `orders` being how many were placed meanwhile. */
export function describeShares(shares: Shares, orders: number): string[] {
  const { workMicros, idleMicros } = shares;
  const perOrder = (share: number): string => `${((share * workMicros) / orders).toFixed(1)} µs`;
  const row = (name: string, share: number): string =>
    `  ${(share * 100).toFixed(1).padStart(5)} %  ${perOrder(share).padStart(9)}  ${name}`;
  const busy = (workMicros * 100) / Math.max(1, workMicros + idleMicros);
  return [
    `at work ${busy.toFixed(0)} % of the time, ${perOrder(1)} per order; whose:`,
    ...[...shares.parts].map(([name, share]) => row(name, share)),
    'most by themselves, without what they call:',
    ...shares.frames.map(({ name, share }) => row(name, share)),
  ];
}

function readFrame({ callFrame }: ProfileNode, root: string): Frame {
  const { functionName, url, lineNumber } = callFrame;
  const file = placeOf(url, root);
  const name = functionName === '' ? '(anonymous)' : functionName;
  const kindOf = (): Frame['kind'] => {
    if (name === '(idle)') return 'idle';
    return name === '(root)' || file === 'node:inspector' ? 'ignored' : 'work';
  };
  return {
    name: file === '' ? name : `${name} ${file}:${lineNumber + 1}`,
    file,
    kind: kindOf(),
  };
}

/** The file from `root` on, built or not; one of a library from its folder on. */
function placeOf(url: string, root: string): string {
  const file = url.replace(/^file:\/\//, '');
  const library = file.lastIndexOf('/node_modules/');
  if (library >= 0) return file.slice(library + 1);
  return file.startsWith(`${root}/`) ? file.slice(root.length + 1).replace(/^dist\//, '') : file;
}

/** Tells the part of a node: that of its owner, or of the nearest caller with an owner. */
function partsOf(
  nodes: readonly ProfileNode[],
  frameOf: ReadonlyMap<number, Frame>,
): (id: number) => string {
  const callerOf = new Map(
    nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  );
  const nearest = (parts: readonly Part[], from: number): string | undefined => {
    for (let at: number | undefined = from; at !== undefined; at = callerOf.get(at)) {
      const part = fitting(parts, frameOf.get(at)?.file ?? '');
      if (part !== undefined) return part;
    }
    return undefined;
  };
  return (id) => {
    const { name = '', file = '' } = frameOf.get(id) ?? {};
    const found = OF_V8[name] ?? nearest(OWNERS, id);
    if (found !== undefined) return found;
    const isLoop = file === '' || file.startsWith('node:');
    return (isLoop ? nearest(OF_THE_LOOP, id) : undefined) ?? 'all else';
  };
}

function fitting(parts: readonly Part[], file: string): string | undefined {
  return parts.find(([, files]) => files.test(file))?.[0];
}

function add<K>(sums: Map<K, number>, key: K, more: number): void {
  sums.set(key, (sums.get(key) ?? 0) + more);
}
