import type { z } from 'zod';
import type { OrchestrationClient } from '../durable/client.ts';
import type { AnySaga } from '../durable/saga/definition.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { Services } from '../services.ts';
import type { AnyLocalSaga } from './local.ts';
import type { SagaId } from './saga-id.ts';

/** What a slice brings for one kind of saga. */
export interface SagaModule {
  readonly definition: AnySaga;
  /**
   * How it is done as one local transaction, where it can be: what `submitSaga` is given. Whoever starts a saga again
   * must know of it, see `settleLocal`.
   */
  readonly local: AnyLocalSaga | undefined;
  /** The `input` of a message of the queue `sagas`: what the HTTP route of this saga takes. */
  readonly message: z.ZodType;
  /**
   * Carries out a checked message under its saga id, as far as having it started or done. Idempotent by the id. Throws
   * `conflict` (permanent) when the id was used for another input.
   */
  readonly submit: (
    services: Services,
    client: OrchestrationClient,
    submission: { readonly sagaId: SagaId; readonly message: unknown },
  ) => Promise<void>;
}

/** Whether a saga may still act on rows it holds: its row says so, and its orchestration lives. */
export type SagaLife = 'alive' | 'ended' | 'unknown';

/**
 * Settles rows of one slice that are held for a saga which is gone (reservations, locks, pending rows): looks what
 * became of it at the pivot's side, closes the steps that could still come late, then confirms or releases.
 */
export interface OrphanSettler {
  readonly name: string;
  readonly settle: (services: Services, work: OrphanWork) => Promise<OrphanReport>;
}

export interface OrphanWork {
  readonly shard: ShardId;
  /** Rows untouched since then, milliseconds since 1970. */
  readonly olderThanMs: number;
  /** Rows looked at. */
  readonly limit: number;
  readonly lifeOf: (sagaId: string) => Promise<SagaLife>;
}

export interface OrphanReport {
  readonly found: number;
  readonly confirmed: number;
  readonly released: number;
  /** Left for the next run: the saga lives, or a shard that must be asked does not answer. */
  readonly left: number;
}

/** Deletes rows of one table that nobody needs any more, a short transaction at a time, in owned buckets only. */
export interface Purger {
  readonly name: string;
  /** Deletes one chunk. Idempotent, and safe beside itself. */
  readonly purge: (services: Services, work: PurgeWork) => Promise<PurgeStep>;
}

export interface PurgeWork {
  readonly shard: ShardId;
  /** Rows untouched since then, milliseconds since 1970. */
  readonly olderThanMs: number;
  /** Rows looked at, and so deleted. */
  readonly limit: number;
  /** `next` of the chunk before; empty for the beginning. */
  readonly after: string;
}

export interface PurgeStep {
  readonly deleted: number;
  /** Where to go on; empty for the beginning (all that was looked at is gone); null when there is no more. */
  readonly next: string | null;
}

/** What became of one row. */
export type Settled = 'confirmed' | 'released' | 'left';

/** The report of rows settled one by one. Pure. */
export function reportOf(settled: readonly Settled[]): OrphanReport {
  const count = (kind: Settled): number => settled.filter((one) => one === kind).length;
  return {
    found: settled.length,
    confirmed: count('confirmed'),
    released: count('released'),
    left: count('left'),
  };
}
