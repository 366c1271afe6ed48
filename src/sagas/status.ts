import { z } from 'zod';
import type { OrchestrationClient } from '../durable/client.ts';
import { stepError } from '../durable/saga/step.ts';
import { SAGA_STATUSES, stepView, type SagaView, type StepView } from '../durable/saga/view.ts';
import { AppError, PermanentError } from '../kernel/errors.ts';
import { errorFields } from '../kernel/logger.ts';
import { timestampText } from '../kernel/schemas.ts';
import type { Services } from '../services.ts';
import { readSaga } from './journal.ts';
import { isEnded, type SagaRecord } from './model.ts';
import type { SagaModule } from './modules.ts';
import type { SagaId } from './saga-id.ts';

/** `GET /api/sagas/{sagaId}`. */
export const sagaStatusSchema = z
  .object({
    sagaId: z.string(),
    kind: z.string(),
    status: z.enum(SAGA_STATUSES),
    attention: z.boolean().meta({ description: 'It does not get on: somebody should look.' }),
    steps: z.array(stepView).meta({
      description:
        'In order. A saga that was one transaction on one shard shows the one step `local`.',
    }),
    startedAt: timestampText,
    finishedAt: timestampText.nullable(),
    outcome: z
      .union([z.object({ value: z.unknown() }), z.object({ error: stepError })])
      .optional()
      .meta({ description: 'The answer, or why nothing is left of it; once it has ended.' }),
  })
  .meta({ id: 'Saga' });
export type SagaStatusReply = z.infer<typeof sagaStatusSchema>;

/**
 * How a saga stands: its row in the journal, and while it runs what its orchestration tells. Throws `not-found`
 * (permanent) and `shard-unavailable` (retryable).
 */
export async function getSaga(
  services: Services,
  client: OrchestrationClient,
  asked: { readonly sagaId: SagaId; readonly modules: readonly SagaModule[] },
): Promise<SagaStatusReply> {
  const { sagaId, modules } = asked;
  const record = await readSaga(services, sagaId);
  if (record === undefined) throw new PermanentError('not-found', `There is no saga ${sagaId}.`);
  const module = modules.find(({ definition }) => definition.kind === record.kind);
  const live =
    isEnded(record) || module === undefined
      ? undefined
      : await liveView(services, client, { module, sagaId });
  return replyOf(record, live, module);
}

/** What the orchestration tells of itself; nothing when it has not begun, is gone, or the runtime does not answer. */
async function liveView(
  services: Services,
  client: OrchestrationClient,
  running: { readonly module: SagaModule; readonly sagaId: SagaId },
): Promise<SagaView | undefined> {
  const { module, sagaId } = running;
  try {
    return (await client.status(module.definition.orchestration, sagaId))?.status;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    services.logger.log('warn', 'sagas.status_not_known', { sagaId, ...errorFields(error) });
    return undefined;
  }
}

/** Joins the two; pure. The journal decides whether a saga has ended: its row is what callers act on. */
export function replyOf(
  record: SagaRecord,
  live: SagaView | undefined,
  module: Pick<SagaModule, 'definition'> | undefined,
): SagaStatusReply {
  const { sagaId, kind, status, createdAt, finishedAt, outcome } = record;
  return {
    sagaId,
    kind,
    status: live?.status === 'compensating' ? live.status : status,
    attention: live?.attention ?? record.attention,
    steps: [...(live?.steps ?? record.steps ?? notBegun(module))],
    startedAt: createdAt,
    finishedAt: finishedAt ?? null,
    ...(outcome !== undefined && {
      outcome: outcome.kind === 'completed' ? { value: outcome.value } : { error: outcome.error },
    }),
  };
}

function notBegun(module: Pick<SagaModule, 'definition'> | undefined): StepView[] {
  const steps = module?.definition.steps ?? [];
  return steps.map(({ name }) => ({ name, state: 'pending', attempts: 0 }));
}
