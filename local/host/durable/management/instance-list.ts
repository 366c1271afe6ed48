import type { ManagementRequest, ManagementResponse } from '../../contracts.ts';
import type { InstanceFilter, ListPosition } from '../store/instance-queries.ts';
import { isTerminal } from '../turn/turn.ts';
import type { ManagementContext } from './context.ts';
import { statusOf } from './instance-status.ts';
import { jsonResponse, refusal } from './responses.ts';

const TOKEN_HEADER = 'x-ms-continuation-token';
const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

/** Most instances removed in one transaction. */
const PURGE_CHUNK = 200;

/** `GET /instances/`: a page; the continuation token travels in a header, both ways. */
export function listInstances(
  { queries }: ManagementContext,
  request: ManagementRequest,
): ManagementResponse {
  const filter = filterOf(request.query);
  if (filter === null) return refusal(400, 'createdTimeFrom and createdTimeTo must be dates.');
  const after = readToken(request.headers[TOKEN_HEADER] ?? '');
  if (after === 'bad') return refusal(400, `The header ${TOKEN_HEADER} is not one of ours.`);
  const top = Number(request.query.get('top') ?? DEFAULT_PAGE);
  const limit = Number.isInteger(top) && top > 0 ? Math.min(top, MAX_PAGE) : DEFAULT_PAGE;
  const rows = queries.list(filter, after, limit + 1);
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  const token = rows.length > limit && last !== undefined ? writeToken(last) : '';
  const showInput = request.query.get('showInput') === 'true';
  return jsonResponse(
    200,
    page.map((row) => statusOf(row, showInput)),
    token === '' ? {} : { [TOKEN_HEADER]: token },
  );
}

/** `DELETE /instances/?createdTimeFrom=…`: removes instances that have ended. */
export function purgeInstances(
  { engine, queries }: ManagementContext,
  request: ManagementRequest,
): ManagementResponse {
  const filter = filterOf(request.query);
  if (filter === null || filter.createdFromMs === null) {
    return refusal(400, 'A purge by filter needs createdTimeFrom, an ISO 8601 date.');
  }
  let deleted = 0;
  let after: ListPosition | null = null;
  for (;;) {
    const rows = queries.list(filter, after, PURGE_CHUNK);
    const last = rows.at(-1);
    if (last === undefined) break;
    after = last;
    const ended = rows.filter((row) => isTerminal(row.status));
    engine.commit(() => {
      for (const row of ended) engine.instances.remove(row.id);
    });
    for (const row of ended) engine.cache.evict(row.id);
    deleted += ended.length;
  }
  return jsonResponse(deleted > 0 ? 200 : 404, { instancesDeleted: deleted });
}

/** `null` when a date does not parse. */
function filterOf(query: URLSearchParams): InstanceFilter | null {
  const createdFromMs = dateParameter(query, 'createdTimeFrom');
  const createdToMs = dateParameter(query, 'createdTimeTo');
  if (Number.isNaN(createdFromMs) || Number.isNaN(createdToMs)) return null;
  return {
    createdFromMs,
    createdToMs,
    statuses: query
      .getAll('runtimeStatus')
      .flatMap((value) => value.split(','))
      .map((value) => value.trim())
      .filter((value) => value !== ''),
    idPrefix: query.get('instanceIdPrefix') ?? '',
  };
}

function dateParameter(query: URLSearchParams, name: string): number | null {
  const text = query.get(name);
  return text === null || text === '' ? null : Date.parse(text);
}

function writeToken(position: ListPosition): string {
  return Buffer.from(JSON.stringify([position.createdMs, position.id])).toString('base64url');
}

function readToken(text: string): ListPosition | null | 'bad' {
  if (text === '') return null;
  try {
    const parsed: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (!Array.isArray(parsed)) return 'bad';
    const [createdMs, id] = parsed as unknown[];
    return typeof createdMs === 'number' && typeof id === 'string' ? { createdMs, id } : 'bad';
  } catch {
    return 'bad';
  }
}
