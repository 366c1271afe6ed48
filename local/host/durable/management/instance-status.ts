import type { ManagementRequest, ManagementResponse } from '../../contracts.ts';
import type { StoredEvent } from '../turn/history-events.ts';
import { isTerminal, type InstanceRow } from '../turn/turn.ts';
import type { ManagementContext } from './context.ts';
import { historyStats, historyView } from './history-view.ts';
import { managementUrls } from './client-input.ts';
import { jsonResponse, parsedOrText, refusal } from './responses.ts';

/** Time as Azure's status shows it: seconds, UTC. */
export function statusTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** The status record; `input` and `output` are always present, as the client requires. */
export function statusOf(row: InstanceRow, showInput: boolean): Readonly<Record<string, unknown>> {
  return {
    name: row.name,
    instanceId: row.id,
    runtimeStatus: row.status,
    input: showInput ? parsedOrText(row.input) : null,
    customStatus: parsedOrText(row.customStatus),
    output: parsedOrText(row.output),
    createdTime: statusTime(row.createdMs),
    lastUpdatedTime: statusTime(row.updatedMs),
  };
}

/** `GET /instances/{id}`. */
export function getInstance(
  { engine, options }: ManagementContext,
  id: string,
  request: ManagementRequest,
): ManagementResponse {
  const row = engine.instances.get(id);
  if (row === null) return refusal(404, `No instance with ID '${id}' found.`);
  const showInput = request.query.get('showInput') !== 'false';
  const status = { ...statusOf(row, showInput), ...historyOf() };
  if (!isTerminal(row.status)) {
    const { statusQueryGetUri } = managementUrls(options, id);
    return jsonResponse(202, status, { location: statusQueryGetUri ?? '', 'retry-after': '5' });
  }
  const asError = request.query.get('returnInternalServerErrorOnFailure') === 'true';
  return jsonResponse(asError && row.status === 'Failed' ? 500 : 200, status);

  function historyOf(): Readonly<Record<string, unknown>> {
    if (request.query.get('showHistory') !== 'true') return {};
    const events = engine.executions.history(id).map(({ json }) => JSON.parse(json) as StoredEvent);
    const showOutput = request.query.get('showHistoryOutput') === 'true';
    return { historyEvents: historyView(events, { showInput, showOutput }) };
  }
}

/** `GET /instances/{id}/stats`: ours, not Azure's; sizes of the current execution's history. */
export function getStats({ engine }: ManagementContext, id: string): ManagementResponse {
  if (engine.instances.get(id) === null) {
    return refusal(404, `No instance with ID '${id}' found.`);
  }
  return jsonResponse(200, historyStats(engine.executions.history(id).map(({ json }) => json)));
}
