import { z } from 'zod';
import type { Reply, ResponseSpec } from '../http/handler.ts';
import { apiPath } from '../http/paths.ts';
import type { SagaId } from './saga-id.ts';

/** What a route answers when the caller's time is up before the saga is. */
export const startedResponse: ResponseSpec = {
  description: 'It takes longer than a caller waits and goes on; the status tells how it ends.',
  body: z.object({ sagaId: z.string(), statusUrl: z.string() }).meta({ id: 'SagaStarted' }),
  headers: { Location: 'Address of the status.' },
};

export function startedReply(sagaId: SagaId): Reply {
  const statusUrl = apiPath('sagas', sagaId);
  return { status: 202, body: { sagaId, statusUrl }, headers: { location: statusUrl } };
}
