import { z } from 'zod';
import { defineRoute, type Route } from '../http/handler.ts';
import type { SagaModule } from './modules.ts';
import { sagaIdSchema } from './saga-id.ts';
import { getSaga, sagaStatusSchema } from './status.ts';

/** Routes about sagas of every kind; `modules` are those of the app. */
export function sagasRoutes(modules: readonly SagaModule[]): readonly Route[] {
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
