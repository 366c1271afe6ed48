import type { ManagementRequest, ManagementResponse } from '../../contracts.ts';
import { formatEntityId, parseEntityId } from '../entities/entity-id.ts';
import type { ManagementContext } from './context.ts';
import { statusTime } from './instance-status.ts';
import { ACCEPTED, isJsonOrEmpty, jsonResponse, parsedOrText, refusal } from './responses.ts';

const TOKEN_HEADER = 'x-ms-continuation-token';
const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

/** `POST /entities/{name}/{key}?op=`: sends a one-way operation. */
export function signalEntity(
  { engine }: ManagementContext,
  target: { readonly name: string; readonly key: string },
  op: string,
  request: ManagementRequest,
): ManagementResponse {
  if (engine.functions.entity(target.name) === undefined) {
    return refusal(
      400,
      `The function '${target.name}' doesn't exist or is not an entity function.`,
    );
  }
  if (!isJsonOrEmpty(request.body)) return refusal(400, 'The input must be JSON or empty.');
  const entityId = formatEntityId({ name: target.name, key: keyOf(target.key) });
  engine.commit((wakes) => {
    engine.entities.post(entityId, {
      kind: 'op',
      op,
      signal: true,
      input: request.body === '' ? null : request.body,
      requestId: null,
      parentId: null,
      parentExecution: null,
    });
    wakes.entities.add(entityId);
  });
  return ACCEPTED;
}

/** `GET /entities/{name}/{key}`: the entity's state. */
export function readEntity(
  { engine }: ManagementContext,
  target: { readonly name: string; readonly key: string },
): ManagementResponse {
  const id = formatEntityId({ name: target.name, key: keyOf(target.key) });
  const entity = engine.entities.get(id);
  if (entity === null || !entity.exists) return refusal(404, `There is no entity ${id}.`);
  return jsonResponse(200, parsedOrText(entity.state));
}

/** `GET /entities[/{name}]?fetchState=&top=`: existing entities in order of id. */
export function listEntities(
  { engine }: ManagementContext,
  name: string,
  request: ManagementRequest,
): ManagementResponse {
  const top = Number(request.query.get('top') ?? DEFAULT_PAGE);
  const limit = Number.isInteger(top) && top > 0 ? Math.min(top, MAX_PAGE) : DEFAULT_PAGE;
  const token = Buffer.from(request.headers[TOKEN_HEADER] ?? '', 'base64url').toString();
  const rows = engine.entities.list({ name: name.toLowerCase(), afterId: token, limit: limit + 1 });
  const page = rows.slice(0, limit);
  const fetchState = request.query.get('fetchState') === 'true';
  const last = page.at(-1);
  const hasMore = rows.length > limit && last !== undefined;
  return jsonResponse(
    200,
    page.map((row) => ({
      entityId: parseEntityId(row.id),
      lastOperationTime: statusTime(row.updatedMs),
      ...(fetchState ? { state: parsedOrText(row.state) } : {}),
    })),
    hasMore ? { [TOKEN_HEADER]: Buffer.from(last.id).toString('base64url') } : {},
  );
}

/** In a path, `$` stands for the empty key. */
function keyOf(segment: string): string {
  return segment === '$' ? '' : segment;
}
