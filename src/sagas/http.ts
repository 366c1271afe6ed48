import { z } from 'zod';
import { defineRoute, type Route } from '../http/handler.ts';
import { BugError } from '../kernel/errors.ts';
import { LOCAL_STEP } from './model.ts';
import type { SagaModule } from './modules.ts';
import { sagaIdSchema } from './saga-id.ts';
import { getSaga, sagaStatusSchema } from './status.ts';

/**
 * Routes about sagas of every kind; `modules` are those of the app. Throws when two are of one kind, or when a step has
 * the name under which local transactions stand in the ledger.
 */
export function sagasRoutes(modules: readonly SagaModule[]): readonly Route[] {
  requireSound(modules);
  return [
    defineRoute({
      name: 'sagas-get',
      method: 'GET',
      route: 'sagas/{sagaId}',
      auth: 'function',
      tag: 'Sagas',
      summary: 'Look how a saga stands',
      description:
        'A write that touches two shards. It ends completed, or compensated: then nothing of it can be seen, and `outcome.error` says why.',
      params: z.object({ sagaId: sagaIdSchema }),
      durable: true,
      responses: { 200: { description: 'The saga.', body: sagaStatusSchema } },
      errors: ['not-found'],
      handle: async ({ params, services, durable }) => ({
        status: 200,
        body: await getSaga(services, durable, { ...params, modules }),
      }),
    }),
  ];
}

function requireSound(modules: readonly SagaModule[]): void {
  const kinds = new Set(modules.map(({ definition }) => definition.kind));
  if (kinds.size < modules.length) throw new BugError('two sagas are of one kind');
  for (const { definition } of modules) {
    if (definition.steps.some((step) => step.name === LOCAL_STEP)) {
      throw new BugError(`saga ${definition.kind} has a step called ${LOCAL_STEP}`);
    }
  }
}
