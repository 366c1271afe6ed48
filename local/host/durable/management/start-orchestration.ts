import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { ManagementRequest, ManagementResponse } from '../../contracts.ts';
import { instanceIdProblem, startInstance, type NewInstance } from '../instances/start-instance.ts';
import { isTerminal } from '../turn/turn.ts';
import { managementUrls } from './client-input.ts';
import type { ManagementContext } from './context.ts';
import { statusOf } from './instance-status.ts';
import { isJsonOrEmpty, jsonResponse, parsedOrText, refusal } from './responses.ts';

/** How often a waiting start looks at the instance: a read by primary key, so often is cheap. */
const WAIT_STEP_MS = 50;

/** `POST /orchestrators/{fn}[/{id}]`. With `?timeout=` (seconds) the answer waits for the end. */
export async function startOrchestration(
  context: ManagementContext,
  target: { readonly functionName: string; readonly instanceId: string | undefined },
  request: ManagementRequest,
): Promise<ManagementResponse> {
  const fn = context.engine.functions.orchestrator(target.functionName);
  if (fn === undefined) {
    return refusal(
      400,
      `The function '${target.functionName}' doesn't exist, is disabled, or is not an orchestrator function.`,
    );
  }
  if (!isJsonOrEmpty(request.body)) return refusal(400, 'The body must be JSON or empty.');
  const id = target.instanceId ?? randomUUID().replaceAll('-', '');
  const refused = createInstance(context, {
    id,
    name: fn.name,
    version: request.query.get('version'),
    input: request.body === '' ? null : request.body,
    parent: null,
    traceParent: request.headers['traceparent'],
  });
  if (refused !== null) return refused;
  const timeoutSeconds = Number(request.query.get('timeout') ?? '');
  if (timeoutSeconds > 0) {
    const answer = await waitForEnd(context, id, timeoutSeconds * 1000);
    if (answer !== null) return answer;
  }
  return startedResponse(context, id);
}

/** `POST /instances/{id}/restart`: the same function and input again. */
export function restartOrchestration(
  context: ManagementContext,
  id: string,
  request: ManagementRequest,
): ManagementResponse {
  const row = context.engine.instances.get(id);
  if (row === null) return refusal(400, `No instance with ID '${id}' found.`);
  const keepsId = request.query.get('restartWithNewInstanceId') === 'false';
  const newId = keepsId ? id : randomUUID().replaceAll('-', '');
  const { name, version, input } = row;
  const refused = createInstance(context, {
    id: newId,
    name,
    version,
    input,
    parent: null,
    traceParent: request.headers['traceparent'],
  });
  return refused ?? startedResponse(context, newId);
}

/** Returns why not, or `null` when the instance has been created. */
function createInstance(
  { engine }: ManagementContext,
  start: NewInstance,
): ManagementResponse | null {
  const problem = instanceIdProblem(start.id);
  if (problem !== null) return refusal(400, problem);
  const existing = engine.instances.get(start.id);
  const replacesAny = engine.settings.overridableExistingInstanceStates === 'AnyState';
  if (existing !== null && !isTerminal(existing.status) && !replacesAny) {
    return refusal(
      409,
      `An instance with ID '${start.id}' already exists and is ${existing.status}.`,
    );
  }
  engine.commit((wakes) => startInstance(engine, wakes, start));
  return null;
}

function startedResponse({ options }: ManagementContext, id: string): ManagementResponse {
  const urls = managementUrls(options, id);
  const location = urls['statusQueryGetUri'] ?? '';
  return jsonResponse(202, urls, { location, 'retry-after': '10' });
}

/** `null` when the instance has not ended in time. */
async function waitForEnd(
  { engine }: ManagementContext,
  id: string,
  timeoutMs: number,
): Promise<ManagementResponse | null> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline && !engine.closed.aborted) {
    const row = engine.instances.get(id);
    if (row === null) return null;
    if (row.status === 'Completed') return jsonResponse(200, parsedOrText(row.output));
    if (isTerminal(row.status)) {
      return jsonResponse(row.status === 'Failed' ? 500 : 200, statusOf(row, true));
    }
    await delay(WAIT_STEP_MS);
  }
  return null;
}
