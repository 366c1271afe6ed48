import type { OrchestrationClient } from '../durable/client.ts';
import { PermanentError, isRetryable } from '../kernel/errors.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Services } from '../services.ts';
import type { SagaLife, SagaModule } from './modules.ts';
import type { SagaId } from './saga-id.ts';
import { readSaga } from './journal.ts';

/** Whether the orchestration of a saga lives, be it suspended. Throws `storage-unavailable` (retryable). */
export async function orchestrationLives(
  client: OrchestrationClient,
  { definition }: Pick<SagaModule, 'definition'>,
  sagaId: string,
): Promise<boolean> {
  return (await lookAt(client, definition.orchestration, sagaId)) === 'alive';
}

type Look = 'alive' | 'gone' | 'absent' | 'of another kind';

async function lookAt(
  client: OrchestrationClient,
  contract: SagaModule['definition']['orchestration'],
  sagaId: string,
): Promise<Look> {
  try {
    const instance = await client.status(contract, sagaId);
    if (instance === undefined) return 'absent';
    const { state } = instance;
    return state === 'pending' || state === 'running' || state === 'suspended' ? 'alive' : 'gone';
  } catch (error) {
    // Another orchestration has the id, or it ended with a permanent failure.
    if (!(error instanceof PermanentError)) throw error;
    return error.code === 'conflict' ? 'of another kind' : 'gone';
  }
}

/**
 * Tells of sagas whether they may still act, each asked for once. A saga that is written down as unfinished may: when
 * its orchestration is lost, the sweep starts it again, which settles its rows better than anybody else could. When a
 * shard or the runtime does not answer, the answer is `alive` as well: what is not known is left alone.
 */
export function createLifeOf(
  services: Services,
  client: OrchestrationClient,
  modules: readonly SagaModule[],
): (sagaId: string) => Promise<SagaLife> {
  const asked = new Map<string, Promise<SagaLife>>();
  const ask = async (sagaId: string): Promise<SagaLife> => {
    try {
      const record = await readSaga(services, sagaId as SagaId, {
        deadlineMs: services.config.SAGA_STEP_DEADLINE_MS,
      });
      if (record !== undefined) return record.finishedAt === undefined ? 'alive' : 'ended';
      for (const { definition } of modules) {
        const look = await lookAt(client, definition.orchestration, sagaId);
        if (look === 'alive') return 'alive';
        if (look !== 'of another kind') return 'unknown';
      }
      return 'unknown';
    } catch (error) {
      if (!isRetryable(error)) throw error;
      services.logger.log('warn', 'sagas.life_not_known', { sagaId, ...errorFields(error) });
      return 'alive';
    }
  };
  return (sagaId) => {
    const known = asked.get(sagaId) ?? ask(sagaId);
    asked.set(sagaId, known);
    return known;
  };
}
