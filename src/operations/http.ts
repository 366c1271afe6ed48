import { z } from 'zod';
import { defineRoute, type Route } from '../http/handler.ts';
import { createOpenApi } from '../http/openapi.ts';
import { checkReadiness } from './health.ts';
import { bucketMapView, livenessView, readinessView, shardsView } from './model.ts';
import { viewBucketMap, viewShards } from './views.ts';

const bucketMapRoute = defineRoute({
  name: 'operations-bucket-map',
  method: 'GET',
  route: 'ops/bucket-map',
  auth: 'admin',
  tag: 'Operations',
  summary: 'Show which shard owns which bucket',
  responses: { 200: { description: 'The stored bucket map.', body: bucketMapView } },
  handle: async ({ services }) => ({ status: 200, body: await viewBucketMap(services) }),
});

const shardsRoute = defineRoute({
  name: 'operations-shards',
  method: 'GET',
  route: 'ops/shards',
  auth: 'admin',
  tag: 'Operations',
  summary: 'Show the shards as this instance sees them',
  responses: { 200: { description: 'Every shard, reachable or not.', body: shardsView } },
  handle: async ({ services }) => ({ status: 200, body: await viewShards(services) }),
});

const liveRoute = defineRoute({
  name: 'health-live',
  method: 'GET',
  route: 'health/live',
  auth: 'anonymous',
  tag: 'Health',
  summary: 'Tell that the process serves',
  responses: { 200: { description: 'It does.', body: livenessView } },
  handle: async () => Promise.resolve({ status: 200, body: { status: 'live' } }),
});

const readyRoute = defineRoute({
  name: 'health-ready',
  method: 'GET',
  route: 'health/ready',
  auth: 'anonymous',
  tag: 'Health',
  summary: 'Tell whether every dependency answers',
  responses: {
    200: {
      description: 'Every shard, the storage account and the bucket map answer.',
      body: readinessView,
    },
    503: { description: 'Something does not answer; the body says what.', body: readinessView },
  },
  handle: async ({ services, logger }) => {
    const readiness = await checkReadiness(services, logger);
    if (readiness.status === 'ready') return { status: 200, body: readiness };
    return { status: 503, body: readiness, headers: { 'retry-after': '5' } };
  },
});

export const operationsRoutes: readonly Route[] = [
  bucketMapRoute,
  shardsRoute,
  liveRoute,
  readyRoute,
];

/** The route that describes all routes, itself among them; `routes` is asked when the first request comes. */
export function openApiRoute(routes: () => readonly Route[]): Route {
  let document: unknown;
  return defineRoute({
    name: 'openapi',
    method: 'GET',
    route: 'openapi.json',
    auth: 'anonymous',
    tag: 'Operations',
    summary: 'Describe the API',
    responses: {
      200: {
        description: 'This document.',
        body: z.looseObject({ openapi: z.string(), paths: z.record(z.string(), z.unknown()) }),
      },
    },
    handle: async () => {
      document ??= createOpenApi(routes());
      return Promise.resolve({ status: 200, body: document });
    },
  });
}
