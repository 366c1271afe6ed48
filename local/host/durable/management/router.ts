import type {
  DurableRuntimeOptions,
  ManagementRequest,
  ManagementResponse,
} from '../../contracts.ts';
import type { Engine } from '../engine.ts';
import type { InstanceQueries } from '../store/instance-queries.ts';
import type { ManagementContext } from './context.ts';
import { listEntities, readEntity, signalEntity } from './entity-api.ts';
import {
  controlInstance,
  isControlCommand,
  purgeInstance,
  raiseEvent,
  rewind,
} from './instance-commands.ts';
import { listInstances, purgeInstances } from './instance-list.ts';
import { getInstance, getStats } from './instance-status.ts';
import { refusal } from './responses.ts';
import { restartOrchestration, startOrchestration } from './start-orchestration.ts';

/**
 * Creates the durable HTTP management API, compatible with Azure's webhook API of the same paths.
 * Fixed path segments ignore case. `GET /instances/{id}/stats` is our own addition.
 */
export function createManagementApi(
  engine: Engine,
  queries: InstanceQueries,
  options: Pick<DurableRuntimeOptions, 'origin' | 'settings'>,
): (request: ManagementRequest) => Promise<ManagementResponse> {
  const context: ManagementContext = { engine, queries, options };
  return async (request) => {
    const segments = pathSegments(request.path);
    if (segments === null) return refusal(400, 'The path is not correctly percent-encoded.');
    const [area = '', ...rest] = segments;
    switch (area.toLowerCase()) {
      case 'orchestrators':
        return orchestrators(context, rest, request);
      case 'instances':
        return instances(context, rest, request);
      case 'entities':
        return entities(context, rest, request);
      default:
        return notFound(request);
    }
  };
}

/** Decoded segments without empty ones; `null` when the encoding is broken. */
function pathSegments(path: string): string[] | null {
  try {
    return path
      .split('/')
      .filter((segment) => segment !== '')
      .map(decodeURIComponent);
  } catch {
    return null;
  }
}

function notFound(request: ManagementRequest): ManagementResponse {
  return refusal(404, `There is no durable API for ${request.method} ${request.path}.`);
}

async function orchestrators(
  context: ManagementContext,
  [functionName, instanceId, ...more]: readonly string[],
  request: ManagementRequest,
): Promise<ManagementResponse> {
  if (request.method !== 'POST' || functionName === undefined || more.length > 0) {
    return notFound(request);
  }
  return startOrchestration(context, { functionName, instanceId }, request);
}

function instances(
  context: ManagementContext,
  [id, command, ...more]: readonly string[],
  request: ManagementRequest,
): ManagementResponse {
  const { method } = request;
  if (id === undefined) {
    if (method === 'GET') return listInstances(context, request);
    return method === 'DELETE' ? purgeInstances(context, request) : notFound(request);
  }
  const name = command?.toLowerCase();
  if (name === undefined) {
    if (method === 'GET') return getInstance(context, id, request);
    return method === 'DELETE' ? purgeInstance(context, id) : notFound(request);
  }
  if (name === 'stats' && method === 'GET') return getStats(context, id);
  if (method !== 'POST') return notFound(request);
  if (isControlCommand(name)) return controlInstance(context, id, name, request);
  if (name === 'rewind') return rewind(context, id, request);
  if (name === 'restart') return restartOrchestration(context, id, request);
  const [eventName] = more;
  if (name === 'raiseevent' && eventName !== undefined) {
    return raiseEvent(context, id, eventName, request);
  }
  return notFound(request);
}

function entities(
  context: ManagementContext,
  [name, key, ...more]: readonly string[],
  request: ManagementRequest,
): ManagementResponse {
  if (more.length > 0) return notFound(request);
  if (name === undefined || key === undefined) {
    return request.method === 'GET'
      ? listEntities(context, name ?? '', request)
      : notFound(request);
  }
  switch (request.method) {
    case 'GET':
      return readEntity(context, { name, key });
    case 'POST':
      return signalEntity(context, { name, key }, request.query.get('op') ?? '', request);
    case 'DELETE':
      return signalEntity(context, { name, key }, 'delete', request);
    default:
      return notFound(request);
  }
}
