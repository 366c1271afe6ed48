import { z } from 'zod';
import { defineRoute, type Route } from '../http/handler.ts';
import { apiPath } from '../http/paths.ts';
import { idempotencyHeaders } from '../idempotency/keys.ts';
import { PermanentError } from '../kernel/errors.ts';
import { timestampSchema } from '../kernel/schemas.ts';
import { reportFailureSchema } from './contracts.ts';
import { GROUPINGS, reportResultSchema, totalSchema } from './model.ts';
import { describeReport, requestReport } from './reports.ts';
import { revenueTotal } from './total.ts';

const totalRoute = defineRoute({
  name: 'revenue-total',
  method: 'GET',
  route: 'revenue',
  auth: 'function',
  tag: 'Revenue',
  summary: 'Sum up all orders of all shards',
  description:
    'Each order is counted once, also while buckets move between shards. With `partial=true` shards that do not answer are left out and named instead of failing the request.',
  query: z.strictObject({
    partial: z.enum(['true', 'false'], 'true or false is expected').optional(),
  }),
  responses: { 200: { description: 'The total.', body: totalSchema } },
  errors: ['shard-unavailable'],
  handle: async ({ query, services }) => ({
    status: 200,
    body: await revenueTotal(services, { partial: query.partial === 'true' }),
  }),
});

const requestSchema = z
  .strictObject({
    from: timestampSchema.optional().meta({ description: 'Orders created at or after this time.' }),
    to: timestampSchema.optional().meta({ description: 'Orders created before this time.' }),
    groupBy: z.enum(GROUPINGS, 'none, day or month is expected'),
  })
  .refine(({ from, to }) => from === undefined || to === undefined || from < to, {
    path: ['to'],
    error: 'must be later than from',
  })
  .meta({ id: 'RevenueReportRequest' });

const acceptedSchema = z
  .object({ reportId: z.string(), statusUrl: z.string() })
  .meta({ id: 'RevenueReportAccepted' });

const createReportRoute = defineRoute({
  name: 'revenue-reports-create',
  method: 'POST',
  route: 'revenue/reports',
  auth: 'function',
  tag: 'Revenue',
  summary: 'Ask for a report',
  description:
    'Sums orders created from `from` (inclusive) to `to` (exclusive), by UTC day or month of their creation. With an `Idempotency-Key` the same request gets the same report again.',
  headers: idempotencyHeaders,
  body: requestSchema,
  durable: true,
  responses: {
    202: {
      description: 'Accepted; being summed.',
      body: acceptedSchema,
      headers: {
        Location: 'Where to ask for it.',
        'Idempotent-Replay': '`true` when it was asked for before.',
      },
    },
  },
  errors: ['idempotency-conflict'],
  handle: async ({ body, headers, services, durable }) => {
    const { reportId, kind } = await requestReport(services, durable, {
      request: { from: body.from ?? null, to: body.to ?? null, groupBy: body.groupBy },
      idempotencyKey: headers['idempotency-key'],
    });
    const statusUrl = apiPath('revenue', 'reports', reportId);
    return {
      status: 202,
      body: { reportId, statusUrl },
      headers: {
        location: statusUrl,
        ...(kind === 'replayed' && { 'idempotent-replay': 'true' }),
      },
    };
  },
});

const REPORT_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const reportSchema = z
  .object({
    reportId: z.string(),
    status: z.enum(['running', 'completed', 'failed']),
    progress: z.object({ chunksDone: z.int().min(0), chunks: z.int().min(0) }),
    result: reportResultSchema.optional(),
    failure: reportFailureSchema.optional(),
  })
  .meta({ id: 'RevenueReport' });

const getReportRoute = defineRoute({
  name: 'revenue-reports-get',
  method: 'GET',
  route: 'revenue/reports/{reportId}',
  auth: 'function',
  tag: 'Revenue',
  summary: 'See how far a report is, and its result',
  params: z.object({ reportId: z.string() }),
  durable: true,
  responses: { 200: { description: 'The report.', body: reportSchema } },
  errors: ['not-found'],
  handle: async ({ params, services, durable }) => {
    // What cannot be an id was never given to a report.
    const found = REPORT_ID.test(params.reportId)
      ? await describeReport(services, durable, params.reportId)
      : undefined;
    if (found === undefined) {
      throw new PermanentError('not-found', 'There is no report with this id.');
    }
    return { status: 200, body: found };
  },
});

export const revenueRoutes: readonly Route[] = [totalRoute, createReportRoute, getReportRoute];
