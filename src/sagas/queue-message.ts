import { z } from 'zod';
import { PermanentError } from '../kernel/errors.ts';
import { fieldProblems } from '../kernel/schemas.ts';
import type { SagaModule } from './modules.ts';
import { sagaIdSchema, type SagaId } from './saga-id.ts';

/** How often, and since when, a message was put off. */
const deferral = z.strictObject({
  /** RFC 3339. */
  firstSeenAt: z.iso.datetime(),
  attempt: z.int().min(1),
  /** W3C: where it was put off, for a link between the traces. */
  traceparent: z.string().optional(),
});

const envelope = z.strictObject({
  kind: z.string(),
  sagaId: sagaIdSchema.optional(),
  input: z.unknown(),
  /** Ours: in copies of a message that was put off. */
  deferred: deferral.optional(),
});

/** A message as it is put on the queue again. */
export type SagaEnvelope = z.infer<typeof envelope>;

/** A message that can be carried out. */
export interface SagaMessage {
  readonly module: SagaModule;
  readonly sagaId: SagaId;
  /** The input as the module's schema gives it. */
  readonly message: unknown;
  readonly envelope: SagaEnvelope;
}

/**
 * What a message asks for. `messageId` is the saga's id when the message names none. Throws `validation-failed`
 * (permanent) for an unknown kind, an input the kind does not take, and unknown fields.
 */
export function parseSagaMessage(
  value: unknown,
  messageId: unknown,
  modules: readonly SagaModule[],
): SagaMessage {
  const parsed = parseOrThrow(envelope, value, '');
  const module = modules.find(({ definition }) => definition.kind === parsed.kind);
  if (module === undefined) {
    const kinds = modules.map(({ definition }) => definition.kind).join(', ');
    const problem = { path: '/kind', message: `one of ${kinds} is expected` };
    throw PermanentError.validation('The message is not valid.', [problem]);
  }
  return {
    module,
    sagaId: parsed.sagaId ?? parseOrThrow(sagaIdSchema, messageId, '/sagaId'),
    message: parseOrThrow(module.message, parsed.input, '/input'),
    envelope: parsed,
  };
}

function parseOrThrow<T>(schema: z.ZodType<T>, value: unknown, prefix: string): T {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  throw PermanentError.validation('The message is not valid.', fieldProblems(parsed.error, prefix));
}
