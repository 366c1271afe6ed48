import { z } from 'zod';
import { defineRoute, type Route } from '../http/handler.ts';
import { apiPath } from '../http/paths.ts';
import { PermanentError } from '../kernel/errors.ts';
import { describeRun } from './describe-run.ts';
import { planSchema, planViewSchema, rebalanceSchema, requestSchema } from './run-model.ts';
import { controlRun, showPlan, startRun, type Control } from './runs.ts';

const acceptedSchema = z
  .object({ rebalanceId: z.string(), statusUrl: z.string() })
  .meta({ id: 'RebalanceAccepted' });

const statusUrlOf = (rebalanceId: string): string => apiPath('ops', 'rebalances', rebalanceId);

const createRoute = defineRoute({
  name: 'rebalances-create',
  method: 'POST',
  route: 'ops/rebalance',
  auth: 'admin',
  tag: 'Operations',
  summary: 'Spread the buckets over the shards anew',
  description:
    'Moves whole buckets while they are read and written. With `dryRun` only shows the plan; its `planHash`, sent along within a day, has exactly that plan carried out. One at a time.',
  body: requestSchema,
  durable: true,
  responses: {
    200: {
      description: 'With `dryRun` the plan and what stands against it; otherwise: nothing to move.',
      body: z.union([planViewSchema, planSchema]),
    },
    202: {
      description: 'Accepted; buckets are being moved.',
      body: acceptedSchema,
      headers: { Location: 'Where to ask for it.' },
    },
  },
  errors: ['conflict'],
  handle: async ({ body, services, durable }) => {
    if (body.dryRun) return { status: 200, body: await showPlan(services, body) };
    const started = await startRun(services, durable, body);
    if (started.kind === 'nothing-to-do') return { status: 200, body: started.plan };
    const { rebalanceId } = started;
    const statusUrl = statusUrlOf(rebalanceId);
    return { status: 202, body: { rebalanceId, statusUrl }, headers: { location: statusUrl } };
  },
});

const params = z.object({ rebalanceId: z.string() });
const REBALANCE_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function notFound(): PermanentError {
  return new PermanentError('not-found', 'There is no rebalance with this id.');
}

const getRoute = defineRoute({
  name: 'rebalances-get',
  method: 'GET',
  route: 'ops/rebalances/{rebalanceId}',
  auth: 'admin',
  tag: 'Operations',
  summary: 'See how far a rebalance is',
  params,
  durable: true,
  responses: { 200: { description: 'The rebalance with all its moves.', body: rebalanceSchema } },
  errors: ['not-found'],
  handle: async ({ params: { rebalanceId }, services, durable }) => {
    // What cannot be an id was never given to a rebalance.
    const found = REBALANCE_ID.test(rebalanceId)
      ? await describeRun(services, durable, rebalanceId)
      : undefined;
    if (found === undefined) throw notFound();
    return { status: 200, body: found };
  },
});

const CONTROLS: Readonly<
  Record<Control, { readonly summary: string; readonly description: string }>
> = {
  pause: {
    summary: 'Let a rebalance rest',
    description: 'No move goes on but one that is being switched. Nothing is lost.',
  },
  resume: { summary: 'Let a paused rebalance go on', description: 'From where it was.' },
  cancel: {
    summary: 'End a rebalance before it is through',
    description:
      'Moves that are not switched are taken back, and their copies deleted; those that are stay.',
  },
};

function controlRoute(control: Control): Route {
  return defineRoute({
    name: `rebalances-${control}`,
    method: 'POST',
    route: `ops/rebalances/{rebalanceId}/${control}`,
    auth: 'admin',
    tag: 'Operations',
    ...CONTROLS[control],
    params,
    durable: true,
    responses: {
      202: { description: 'Noted; the status shows when it is so.', body: acceptedSchema },
    },
    errors: ['not-found', 'conflict'],
    handle: async ({ params: { rebalanceId }, services, durable }) => {
      const known =
        REBALANCE_ID.test(rebalanceId) &&
        (await controlRun(services, durable, rebalanceId, control));
      if (!known) throw notFound();
      return { status: 202, body: { rebalanceId, statusUrl: statusUrlOf(rebalanceId) } };
    },
  });
}

export const rebalancingRoutes: readonly Route[] = [
  createRoute,
  getRoute,
  controlRoute('pause'),
  controlRoute('resume'),
  controlRoute('cancel'),
];
