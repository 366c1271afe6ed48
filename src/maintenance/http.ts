import { z } from 'zod';
import { defineRoute, type Route } from '../http/handler.ts';
import { apiPath } from '../http/paths.ts';
import { PermanentError } from '../kernel/errors.ts';
import { describeRun } from './describe-run.ts';
import { requestSchema } from './run-model.ts';
import { pageViewSchema } from './run-view.ts';
import { cancelRun, startRun } from './runs.ts';

const acceptedSchema = z
  .object({ maintenanceId: z.string(), statusUrl: z.string() })
  .meta({ id: 'MaintenanceAccepted' });

const statusUrlOf = (maintenanceId: string): string => apiPath('ops', 'maintenance', maintenanceId);

const createRoute = defineRoute({
  name: 'maintenance-create',
  method: 'POST',
  route: 'ops/maintenance',
  auth: 'admin',
  tag: 'Operations',
  summary: 'Renew statistics and rebuild tables now',
  description:
    'What the timer does every night: looks at each table of each shard, decides by thresholds, does what fits into the window. With `dryRun` it only decides. One at a time.',
  body: requestSchema,
  durable: true,
  responses: {
    202: {
      description: 'Accepted; being worked on.',
      body: acceptedSchema,
      headers: { Location: 'Where to ask for it.' },
    },
  },
  errors: ['conflict'],
  handle: async ({ body, services, durable }) => {
    const maintenanceId = await startRun(services, durable, { by: 'operator', request: body });
    const statusUrl = statusUrlOf(maintenanceId);
    return { status: 202, body: { maintenanceId, statusUrl }, headers: { location: statusUrl } };
  },
});

const params = z.object({ maintenanceId: z.string() });
const MAINTENANCE_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function notFound(): PermanentError {
  return new PermanentError('not-found', 'There is no maintenance run with this id.');
}

const pageQuery = z.object({
  limit: z
    .string()
    .regex(/^\d{1,3}$/, 'a whole number 1 … 500 is expected')
    .transform(Number)
    .pipe(z.int().min(1).max(500))
    .default(100)
    .meta({ description: 'Tables of one answer.' }),
  cursor: z
    .string()
    .regex(/^\d{1,3}-\d{1,4}$/, 'the nextCursor of an earlier answer is expected')
    .optional(),
});

const getRoute = defineRoute({
  name: 'maintenance-get',
  method: 'GET',
  route: 'ops/maintenance/{maintenanceId}',
  auth: 'admin',
  tag: 'Operations',
  summary: 'See what maintenance decided and did',
  description:
    'Per shard and table: action, reason, figures before and after, duration, outcome. `latest` stands for the run that was started last.',
  params,
  query: pageQuery,
  durable: true,
  responses: { 200: { description: 'The run, with a page of its tables.', body: pageViewSchema } },
  errors: ['not-found'],
  handle: async ({ params: { maintenanceId }, query: { limit, cursor }, services, durable }) => {
    const [shard = 0, table = 0] = (cursor ?? '0-0').split('-').map(Number);
    // What cannot be an id was never given to a run.
    const isId = maintenanceId === 'latest' || MAINTENANCE_ID.test(maintenanceId);
    const page = { from: { shard, table }, limit };
    const found = isId ? await describeRun(services, durable, maintenanceId, page) : undefined;
    if (found === undefined) throw notFound();
    return { status: 200, body: found };
  },
});

const cancelRoute = defineRoute({
  name: 'maintenance-cancel',
  method: 'POST',
  route: 'ops/maintenance/{maintenanceId}/cancel',
  auth: 'admin',
  tag: 'Operations',
  summary: 'End a maintenance run before it is through',
  description:
    'Nothing is begun any more; the statement that runs is run to its end. What is left keeps its place for the next run.',
  params,
  durable: true,
  responses: {
    202: { description: 'Noted; the status shows when it is so.', body: acceptedSchema },
  },
  errors: ['not-found', 'conflict'],
  handle: async ({ params: { maintenanceId }, services, durable }) => {
    const known =
      MAINTENANCE_ID.test(maintenanceId) && (await cancelRun(services, durable, maintenanceId));
    if (!known) throw notFound();
    return { status: 202, body: { maintenanceId, statusUrl: statusUrlOf(maintenanceId) } };
  },
});

export const maintenanceRoutes: readonly Route[] = [createRoute, getRoute, cancelRoute];
