/**
 * 63-bit ids made in the application: 41 bits of milliseconds since {@link SNOWFLAKE_EPOCH_MS}, 10 bits of
 * worker number, 12 bits of sequence. Bit 62 stays clear until 2059-11; derived ids use it.
 */
export const SNOWFLAKE_EPOCH_MS = Date.UTC(2025, 0, 1);
/** Worker numbers 0 … 1023. */
export const WORKER_COUNT = 1024;
/** Ids per worker and millisecond. */
export const SEQUENCE_LIMIT = 4096;

/** The generator's memory: the last millisecond used and the last sequence in it. */
export interface SnowflakeState {
  readonly lastMs: number;
  readonly sequence: number;
}

export type SnowflakeStep =
  | { readonly kind: 'issued'; readonly id: bigint; readonly state: SnowflakeState }
  /** Sequence used up or clock behind: try again after `waitMs`. */
  | { readonly kind: 'wait'; readonly waitMs: number };

/**
 * One step of the generator; pure. A clock that stepped back is waited out: ids never use a
 * millisecond earlier than one already used, so they stay unique and ascending per worker.
 */
export function nextSnowflake(state: SnowflakeState, nowMs: number, worker: number): SnowflakeStep {
  if (nowMs < state.lastMs) return { kind: 'wait', waitMs: state.lastMs - nowMs };
  const sequence = nowMs === state.lastMs ? state.sequence + 1 : 0;
  if (sequence >= SEQUENCE_LIMIT) return { kind: 'wait', waitMs: 1 };
  const time = BigInt(nowMs - SNOWFLAKE_EPOCH_MS);
  const id = (time << 22n) | (BigInt(worker) << 12n) | BigInt(sequence);
  return { kind: 'issued', id, state: { lastMs: nowMs, sequence } };
}

/** The parts of a snowflake, for people and tests. */
export function readSnowflake(id: bigint): { timeMs: number; worker: number; sequence: number } {
  return {
    timeMs: Number(id >> 22n) + SNOWFLAKE_EPOCH_MS,
    worker: Number((id >> 12n) & 1023n),
    sequence: Number(id & 4095n),
  };
}
