import { z } from 'zod';
import { OPERATOR_VERBS } from '../durable/saga/record.ts';
import { SAGA_STATUSES } from '../durable/saga/view.ts';
import { defineRoute, type Route } from '../http/handler.ts';
import { PermanentError } from '../kernel/errors.ts';
import { idText, timestampText, wholeNumberText } from '../kernel/schemas.ts';
import { MAX_ENTRIES_SHOWN, readEntries } from './audit.ts';
import { readSaga } from './journal.ts';
import { DEFAULT_LISTED, MAX_LISTED, listSagas, sagaSummary } from './list.ts';
import { orderSaga, sagaNotFound } from './operator.ts';
import { sagaIdSchema } from './saga-id.ts';
import { sweepSagas, type SweepParts } from './sweep.ts';
import { sweepReport } from './sweep-report.ts';
import { lastSweep } from './sweep-store.ts';

const TAG = 'Operations';

/** The routes by which operators look after sagas. */
export function sagaOperationsRoutes(parts: SweepParts): readonly Route[] {
  return [listRoute(parts), verbRoute(parts), auditRoute, sweepRoute(parts), lastSweepRoute];
}

function listRoute({ modules }: SweepParts): Route {
  const kinds = modules.map(({ definition }) => definition.kind);
  return defineRoute({
    name: 'ops-sagas-list',
    method: 'GET',
    route: 'ops/sagas',
    auth: 'admin',
    tag: TAG,
    summary: 'List sagas of all shards, newest first',
    description:
      'As last written down: when a saga begins, starts to compensate, needs attention, is told something, ends. While a shard is away the list cannot be given (503).',
    query: z.strictObject({
      status: z.enum(SAGA_STATUSES).optional(),
      kind: z
        .enum(kinds as [string, ...string[]])
        .optional()
        .meta({ description: 'One of the kinds this app runs.' }),
      attention: z
        .enum(['true', 'false'])
        .transform((text) => text === 'true')
        .optional()
        .meta({ description: 'With `true` only unfinished sagas that do not get on.' }),
      limit: wholeNumberText({ min: 1, max: MAX_LISTED })
        .default(DEFAULT_LISTED)
        .meta({ description: `Default ${DEFAULT_LISTED}.` }),
      cursor: z
        .string()
        .optional()
        .meta({ description: '`nextCursor` of the page before, with the same filters.' }),
    }),
    responses: {
      200: {
        description: 'A page of sagas.',
        body: z
          .object({ sagas: z.array(sagaSummary), nextCursor: z.string().nullable() })
          .meta({ id: 'SagaPage' }),
      },
    },
    handle: async ({ query, services }) => {
      const { kind, status, attention, limit, cursor } = query;
      const filter = { kinds: kind === undefined ? kinds : [kind], status, attention };
      return { status: 200, body: await listSagas(services, { ...filter, limit, cursor }) };
    },
  });
}

/** Text that a person can read: no control characters, no halves of surrogate pairs. */
function visibleText(max: number) {
  return z
    .string()
    .trim()
    .min(1)
    .max(max)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'visible text is expected, without control characters');
}

const entryState = z.enum(['requested', 'applied', 'refused']).meta({
  description:
    '`requested`: it has not come to it yet; of a saga that has ended, it ended before. `refused`: it does not fit what the saga is at.',
});

function verbRoute({ modules }: SweepParts): Route {
  return defineRoute({
    name: 'ops-sagas-order',
    method: 'POST',
    route: 'ops/sagas/{sagaId}/{verb}',
    auth: 'admin',
    tag: TAG,
    summary: 'Tell a saga to retry now, to skip a step, or to compensate',
    description:
      '`retry`: try again without waiting. `skip`: give up the step after the pivot, or the compensation, that it is at; nothing takes care of that step any more. `compensate`: take everything back; before the pivot only. A saga whose orchestration is lost is started again by `retry` and `compensate`. Written down with the reason before it is passed on; the audit shows what became of it.',
    params: z.object({
      sagaId: sagaIdSchema,
      verb: z.enum(OPERATOR_VERBS).meta({ description: 'What to do.' }),
    }),
    body: z
      .strictObject({
        reason: visibleText(1_000).meta({ description: 'Why. Kept in the audit.' }),
        by: visibleText(200).optional().meta({ description: 'Who says so.' }),
        step: visibleText(64).optional().meta({
          description:
            'For `skip`: the step that is meant; refused when the saga is at another one. Default: the one it is at.',
        }),
      })
      .meta({ id: 'SagaOrder' }),
    durable: true,
    responses: {
      202: {
        description: 'It was written down and passed on.',
        body: z
          .object({
            sagaId: z.string(),
            entry: idText,
            verb: z.enum(OPERATOR_VERBS),
            state: entryState,
          })
          .meta({ id: 'SagaOrdered' }),
      },
    },
    errors: ['not-found', 'conflict'],
    handle: async ({ params, body, services, durable, requestId }) => {
      const order = { ...params, reason: body.reason, by: body.by, step: body.step, requestId };
      return { status: 202, body: await orderSaga(services, durable, modules, order) };
    },
  });
}

const auditRoute = defineRoute({
  name: 'ops-sagas-audit',
  method: 'GET',
  route: 'ops/sagas/{sagaId}/audit',
  auth: 'admin',
  tag: TAG,
  summary: 'Show what operators asked of a saga, newest first',
  params: z.object({ sagaId: sagaIdSchema }),
  responses: {
    200: {
      description: `The newest ${MAX_ENTRIES_SHOWN} entries.`,
      body: z
        .object({
          sagaId: z.string(),
          entries: z.array(
            z.object({
              entry: idText,
              verb: z.enum(OPERATOR_VERBS),
              step: z.string().nullable().meta({
                description: 'The step that was meant, or that it was at when it was asked.',
              }),
              reason: z.string(),
              requestedBy: z.string().nullable(),
              requestId: z.string(),
              requestedAt: timestampText,
              state: entryState,
              settledAt: timestampText.nullable(),
            }),
          ),
        })
        .meta({ id: 'SagaAudit' }),
    },
  },
  errors: ['not-found'],
  handle: async ({ params: { sagaId }, services }) => {
    if ((await readSaga(services, sagaId)) === undefined) throw sagaNotFound(sagaId);
    return { status: 200, body: { sagaId, entries: await readEntries(services, sagaId) } };
  },
});

function sweepRoute(parts: SweepParts): Route {
  return defineRoute({
    name: 'ops-sagas-sweep',
    method: 'POST',
    route: 'ops/sagas/sweep',
    auth: 'admin',
    tag: TAG,
    summary: 'Run the sweep now',
    description:
      'What the timer does: starts sagas again that lost their orchestration, settles what is held for sagas that are gone, deletes what is past its retention time. Takes up to a minute. Safe beside the timer and itself.',
    durable: true,
    responses: { 200: { description: 'What it did.', body: sweepReport } },
    handle: async ({ services, durable }) => {
      const nowMs = services.clock.nowMs();
      return { status: 200, body: await sweepSagas(services, durable, { ...parts, nowMs }) };
    },
  });
}

const lastSweepRoute = defineRoute({
  name: 'ops-sagas-last-sweep',
  method: 'GET',
  route: 'ops/sagas/sweep',
  auth: 'admin',
  tag: TAG,
  summary: 'Show what the latest sweep did',
  responses: { 200: { description: 'The report of the latest run.', body: sweepReport } },
  errors: ['not-found'],
  handle: async ({ services }) => {
    const last = await lastSweep(services);
    if (last === undefined) {
      throw new PermanentError('not-found', 'The sweep has not run yet.');
    }
    return { status: 200, body: last.report };
  },
});
