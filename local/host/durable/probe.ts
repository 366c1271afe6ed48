/**
 * Named points at which a test may kill the process or stall the engine.
 *
 * `commit.before` and `commit.after` lie inside every state change: before the SQLite COMMIT, and
 * between the COMMIT and the dispatch of the work it created. The `*.ran` points lie between the
 * app's code and the recording of its result.
 */
export type DurableProbePoint =
  'commit.before' | 'commit.after' | 'turn.ran' | 'activity.ran' | 'entity.ran';

/** Called synchronously at each point; a normal host uses {@link NO_PROBE}. */
export interface DurableProbe {
  reach(point: DurableProbePoint): void;
}

/** The probe of a normal host: does nothing. */
export const NO_PROBE: DurableProbe = { reach: () => undefined };
