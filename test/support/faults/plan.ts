import { z } from 'zod';
import type { ErrorCode } from '../../../src/kernel/errors.ts';
import type { ProbePoint } from '../../../src/kernel/probe.ts';

/**
 * What a test and the app it tests share: a folder. The test puts tokens into `armed`, the app takes one away by
 * renaming it when a fault happens, so that a fault happens exactly as often as planned, whatever is killed between.
 */
export const FOLDERS = { armed: 'armed', spent: 'spent', released: 'released' } as const;
/** One JSON object per line: every fault that happened. */
export const HITS_FILE = 'hits.ndjson';
/** Names the folder to the fault app. */
export const FOLDER_SETTING = 'SHARDLINE_FAULTS';

/**
 * `exit`: the process kills itself, as `kill -9` does. `transient`, `permanent`: the point throws. `pause`: it waits
 * until the test releases it. `note`: it is only written down, any number of times.
 */
export type FaultAction = 'exit' | 'transient' | 'permanent' | 'pause' | 'note';

export interface Fault {
  readonly point: ProbePoint;
  /** Exact, or a pattern. */
  readonly subject: string | RegExp;
  readonly action: FaultAction;
  /** How often; default once, and a `note` always. */
  readonly times?: number | 'always';
  /** The code that is thrown; default `conflict`, or `shard-unavailable` for a transient one. */
  readonly code?: ErrorCode;
}

/** A fault as it lies in the folder. */
export const token = z.object({
  id: z.string(),
  point: z.string(),
  subject: z.string(),
  isPattern: z.boolean(),
  action: z.enum(['exit', 'transient', 'permanent', 'pause', 'note']),
  /** Not used up. */
  isLasting: z.boolean(),
  code: z.string().optional(),
});
export type Token = z.infer<typeof token>;

/** A fault that happened. */
export const hit = z.object({
  id: z.string(),
  point: z.string(),
  subject: z.string(),
  action: z.string(),
  /** What the point was given: of `sagas.beforeStep` the payload of the delivery. */
  detail: z.unknown(),
});
export type Hit = z.infer<typeof hit>;
