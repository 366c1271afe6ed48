import { z } from 'zod';
import { defineRoute, type Route } from '../http/handler.ts';
import { apiPath } from '../http/paths.ts';
import { PermanentError } from '../kernel/errors.ts';
import { requestSchema, verificationSchema } from './model.ts';
import { describeVerification, startVerification } from './verifications.ts';

const acceptedSchema = z
  .object({ verificationId: z.string(), statusUrl: z.string() })
  .meta({ id: 'VerificationAccepted' });

const createRoute = defineRoute({
  name: 'verifications-create',
  method: 'POST',
  route: 'ops/verifications',
  auth: 'admin',
  tag: 'Operations',
  summary: 'Check all invariants on all data',
  description:
    'Reads every row and changes none; work goes on meanwhile. What looks wrong between two shards is looked at twice more before it counts. One at a time.',
  body: requestSchema,
  durable: true,
  responses: {
    202: {
      description: 'Accepted; being checked.',
      body: acceptedSchema,
      headers: { Location: 'Where to ask for it.' },
    },
  },
  errors: ['conflict'],
  handle: async ({ body, services, durable }) => {
    const verificationId = await startVerification(services, durable, body);
    const statusUrl = apiPath('ops', 'verifications', verificationId);
    return { status: 202, body: { verificationId, statusUrl }, headers: { location: statusUrl } };
  },
});

const VERIFICATION_ID = /^(?:latest|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

const getRoute = defineRoute({
  name: 'verifications-get',
  method: 'GET',
  route: 'ops/verifications/{verificationId}',
  auth: 'admin',
  tag: 'Operations',
  summary: 'See how far a verification is, and what it found',
  description: '`latest` stands for the one that was started last.',
  params: z.object({ verificationId: z.string() }),
  durable: true,
  responses: { 200: { description: 'The verification.', body: verificationSchema } },
  errors: ['not-found'],
  handle: async ({ params, services, durable }) => {
    // What cannot be an id was never given to a verification.
    const found = VERIFICATION_ID.test(params.verificationId)
      ? await describeVerification(services, durable, params.verificationId)
      : undefined;
    if (found === undefined) {
      throw new PermanentError('not-found', 'There is no verification with this id.');
    }
    return { status: 200, body: found };
  },
});

export const verificationRoutes: readonly Route[] = [createRoute, getRoute];
