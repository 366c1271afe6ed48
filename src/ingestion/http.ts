import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { RawBodySpec } from '../http/body.ts';
import { defineRoute, type Route } from '../http/handler.ts';
import { apiPath } from '../http/paths.ts';
import { idempotencyHeaders } from '../idempotency/keys.ts';
import { PermanentError } from '../kernel/errors.ts';
import { timestampOf } from '../kernel/time.ts';
import { newOrderSchema } from '../orders/model.ts';
import { jsonArrayBody, ndjsonBody } from './batch-body.ts';
import { derivedIngestionId, takeIn } from './intake.ts';
import { INGESTION_ID, countsSchema, failureSchema, rejectSchema } from './model.ts';
import { describeIngestion } from './status.ts';

const NDJSON = 'application/x-ndjson';
const JSON_ARRAY = 'application/json';

const acceptedSchema = z
  .object({ ingestionId: z.string(), statusUrl: z.string() })
  .meta({ id: 'IngestionAccepted' });

const ingestionSchema = z
  .object({
    ingestionId: z.string(),
    status: z.enum(['running', 'completed', 'failed']),
    received: z.int(),
    ...countsSchema.shape,
    rejects: z.array(rejectSchema).meta({ description: 'The first 100, by line.' }),
    conflicting: z
      .array(rejectSchema)
      .meta({ description: 'The first 100 of those counted as `conflicts`, by line.' }),
    failure: failureSchema.optional(),
    startedAt: z.string(),
    finishedAt: z.string().nullable(),
  })
  .meta({ id: 'Ingestion' });

const batchBody: RawBodySpec = {
  kind: 'raw',
  contentTypes: [NDJSON, JSON_ARRAY],
  maxBytes: (config) => config.BATCH_MAX_BYTES,
  schemas: { [NDJSON]: newOrderSchema, [JSON_ARRAY]: z.array(newOrderSchema) },
};

const sendBatch = defineRoute({
  name: 'orders-batch',
  method: 'POST',
  route: 'orders/batch',
  auth: 'function',
  tag: 'Orders',
  summary: 'Send many orders at once',
  description:
    'One order per line, or an array. Orders are checked one by one afterwards; those refused are listed with their line. With an `Idempotency-Key` the same batch may be sent again.',
  headers: idempotencyHeaders,
  body: batchBody,
  durable: true,
  responses: {
    202: {
      description: 'Taken in; being written.',
      body: acceptedSchema,
      headers: {
        Location: 'Where to ask how far it is.',
        'Idempotent-Replay': '`true` when the batch was taken in before.',
      },
    },
  },
  errors: ['idempotency-conflict', 'payload-too-large', 'unsupported-media-type'],
  handle: async ({ body, headers, services, durable }) => {
    const { config, clock } = services;
    const key = headers['idempotency-key'];
    const ingestionId = key === undefined ? randomUUID() : derivedIngestionId(`key:${key}`);
    const limits = { maxOrders: config.BATCH_MAX_ORDERS };
    const convert = body.contentType === NDJSON ? ndjsonBody : jsonArrayBody;
    const taken = await takeIn(services, durable, {
      ingestionId,
      body: convert(body.stream, limits),
      // An array grows by no more than the line break behind its last element.
      maxBytes: config.BATCH_MAX_BYTES + 1,
      createdAt: timestampOf(clock.nowMs()) as string,
    });
    const statusUrl = apiPath('ingestions', ingestionId);
    return {
      status: 202,
      body: { ingestionId, statusUrl },
      headers: {
        location: statusUrl,
        ...(taken === 'replayed' && { 'idempotent-replay': 'true' }),
      },
    };
  },
});

const getIngestion = defineRoute({
  name: 'ingestions-get',
  method: 'GET',
  route: 'ingestions/{ingestionId}',
  auth: 'function',
  tag: 'Orders',
  summary: 'See how far a batch is',
  params: z.object({ ingestionId: z.string() }),
  durable: true,
  responses: { 200: { description: 'The ingestion.', body: ingestionSchema } },
  errors: ['not-found'],
  handle: async ({ params, services, durable }) => {
    // What cannot be an id was never given to an ingestion.
    const found = INGESTION_ID.test(params.ingestionId)
      ? await describeIngestion(services, durable, params.ingestionId)
      : undefined;
    if (found === undefined) {
      throw new PermanentError('not-found', 'There is no ingestion with this id.');
    }
    return { status: 200, body: found };
  },
});

export const ingestionRoutes: readonly Route[] = [sendBatch, getIngestion];
