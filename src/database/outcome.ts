import { isFailure } from './database-error.ts';

/**
 * True for failures after which a write may have happened all the same, its answer lost. A caller that is tried again
 * and then finds its row there may have written it itself.
 */
export function isOutcomeUnknown(error: unknown): boolean {
  return isFailure(error, 'lost') || isFailure(error, 'timeout') || isFailure(error, 'deadline');
}

/** Tells over several tries whether one of them may have written without our learning of it. */
export interface WriteMemory {
  readonly mayHaveWritten: boolean;
  /** Runs one try; its failure passes unchanged. */
  watch<T>(attempt: () => Promise<T>): Promise<T>;
}

export function createWriteMemory(): WriteMemory {
  let mayHaveWritten = false;
  return {
    get mayHaveWritten() {
      return mayHaveWritten;
    },
    watch: async (attempt) => {
      try {
        return await attempt();
      } catch (error) {
        mayHaveWritten ||= isOutcomeUnknown(error);
        throw error;
      }
    },
  };
}
