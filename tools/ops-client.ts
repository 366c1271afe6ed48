import { z } from 'zod';
import {
  planSchema,
  planViewSchema,
  rebalanceSchema,
  type Rebalance,
} from '../src/rebalancing/run-model.ts';
import {
  CannotDo,
  keyRefused,
  sendToApp,
  type AppClientOptions,
  type Reply,
} from './app-client.ts';

export interface ClientOptions extends AppClientOptions {
  readonly sleep: (ms: number) => Promise<void>;
}

export type PlanView = z.infer<typeof planViewSchema>;
type BarePlan = z.infer<typeof planSchema>;

export interface Wanted {
  readonly targetShards?: number | readonly number[];
  readonly drain?: readonly number[];
  readonly weights?: Readonly<Record<string, number>>;
  readonly maxBuckets?: number;
  readonly concurrency?: number;
}

const POLL_MS = 1_000;
/** An app that restarts is asked again for this long. */
const MAX_SILENT_POLLS = 120;

const accepted = z.object({ rebalanceId: z.string() });
const problem = z.object({
  detail: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
});

/** Throws {@link CannotDo}. */
export async function askForPlan(options: ClientOptions, wanted: Wanted): Promise<PlanView> {
  const reply = await send(options, 'POST', 'rebalance', { ...wanted, dryRun: true });
  if (reply.status !== 200) throw refused(options, reply);
  return planViewSchema.parse(reply.body);
}

export type Started =
  | { readonly kind: 'started'; readonly rebalanceId: string }
  | { readonly kind: 'nothing-to-do'; readonly plan: BarePlan };

/** Carries the approved plan out. Throws {@link CannotDo}. */
export async function startRebalance(
  options: ClientOptions,
  wanted: Wanted,
  planHash: string,
): Promise<Started> {
  const reply = await send(options, 'POST', 'rebalance', { ...wanted, planHash });
  if (reply.status === 202) {
    return { kind: 'started', rebalanceId: accepted.parse(reply.body).rebalanceId };
  }
  if (reply.status === 200) return { kind: 'nothing-to-do', plan: planSchema.parse(reply.body) };
  throw refused(options, reply);
}

/** Throws {@link CannotDo}. */
export async function readStatus(options: ClientOptions, id: string): Promise<Rebalance> {
  const reply = await send(options, 'GET', `rebalances/${encodeURIComponent(id)}`);
  if (reply.status !== 200) throw refused(options, reply);
  return rebalanceSchema.parse(reply.body);
}

/** Throws {@link CannotDo}. */
export async function controlRebalance(
  options: ClientOptions,
  id: string,
  verb: 'pause' | 'resume' | 'cancel',
): Promise<void> {
  const reply = await send(options, 'POST', `rebalances/${encodeURIComponent(id)}/${verb}`, {});
  if (reply.status !== 202) throw refused(options, reply);
}

/** Asks until the moves have ended, or the run is paused. Throws {@link CannotDo}. */
export async function watchRebalance(
  options: ClientOptions,
  id: string,
  onProgress: (run: Rebalance) => void,
): Promise<Rebalance> {
  return await watchRun(options, {
    path: `rebalances/${encodeURIComponent(id)}`,
    schema: rebalanceSchema,
    isGoing: ({ status }) => ['planned', 'running', 'cancelling'].includes(status),
    onProgress,
    comeBack: `The rebalance goes on when it comes back: npm run ops -- rebalance status ${id} --watch`,
  });
}

/** Asks for a run until it does not go on any more; an app that restarts is asked again. Throws {@link CannotDo}. */
export async function watchRun<Run>(
  options: ClientOptions,
  watched: {
    readonly path: string;
    readonly schema: z.ZodType<Run>;
    readonly isGoing: (run: Run) => boolean;
    readonly onProgress: (run: Run) => void;
    /** What to say when the app does not come back. */
    readonly comeBack: string;
  },
): Promise<Run> {
  let silent = 0;
  for (;;) {
    const reply = await sendOrNothing(options, watched.path);
    if (reply?.status === 200) {
      silent = 0;
      const run = watched.schema.parse(reply.body);
      if (!watched.isGoing(run)) return run;
      watched.onProgress(run);
    } else {
      silent += 1;
      const isPassing = reply === undefined || reply.status === 429 || reply.status >= 500;
      if (!isPassing) throw refused(options, reply);
      if (silent === MAX_SILENT_POLLS) {
        throw new CannotDo(`The app does not answer any more. ${watched.comeBack}`);
      }
    }
    await options.sleep(POLL_MS);
  }
}

async function sendOrNothing(options: ClientOptions, path: string): Promise<Reply | undefined> {
  try {
    return await send(options, 'GET', path);
  } catch (error) {
    if (error instanceof CannotDo) return undefined;
    throw error;
  }
}

/** One request to `/api/ops`. Throws {@link CannotDo} when nothing answers. */
export function send(
  options: ClientOptions,
  method: string,
  path: string,
  json?: unknown,
): Promise<Reply> {
  return sendToApp(options, { method, path, json });
}

/** What to say of an answer that was not expected. */
export function refused(options: ClientOptions, reply: Reply): CannotDo {
  const ofKey = keyRefused(options, reply);
  if (ofKey !== undefined) return ofKey;
  const told = problem.safeParse(reply.body).data;
  if (told === undefined) {
    return new CannotDo(
      `The app at ${options.url} answered ${reply.status}; is it the Shardline app?`,
    );
  }
  const lines = (told.errors ?? []).map(({ path, message }) => `  ${path}: ${message}`);
  return new CannotDo([told.detail, ...lines].join('\n'));
}
