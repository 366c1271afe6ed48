import { randomUUID } from 'node:crypto';
import type { Engine, Wakes } from '../engine.ts';
import { EventType } from '../turn/history-events.ts';
import type { ParentLink } from '../turn/turn.ts';
import { releaseLock } from './release-lock.ts';

/** A new orchestration; `input` is JSON text. */
export interface NewInstance {
  readonly id: string;
  readonly name: string;
  readonly version: string | null;
  readonly input: string | null;
  readonly parent: ParentLink | null;
  /** W3C trace parent of who starts it; a child takes its parent's. */
  readonly traceParent?: string | undefined;
}

/** Longest instance id that Azure accepts. */
const MAX_ID_LENGTH = 256;

/** Says why `id` cannot be an instance id, or `null` when it can. */
export function instanceIdProblem(id: string): string | null {
  if (id.length === 0 || id.length > MAX_ID_LENGTH) {
    return `Instance ids must have 1 to ${MAX_ID_LENGTH} characters; this one has ${id.length}.`;
  }
  if (id.startsWith('@')) return "Instance ids must not start with '@', which marks entities.";
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[/\\#?\u0000-\u001f\u007f-\u009f]/u.test(id)) {
    return 'Instance ids must not contain / \\ # ? or control characters.';
  }
  return null;
}

/**
 * Creates an instance in state Pending, replacing an earlier one with the same id. The caller has
 * checked that the earlier one may be replaced. Call within a transaction.
 */
export function startInstance(engine: Engine, wakes: Wakes, start: NewInstance): void {
  const nowMs = engine.clock();
  const executionId = randomUUID().replaceAll('-', '');
  const replaced = engine.instances.get(start.id);
  if (replaced !== null) releaseLock(engine, wakes, replaced);
  const { traceParent, ...row } = start;
  const trace = traceParent ?? traceOf(engine, start.parent);
  engine.instances.remove(start.id);
  engine.cache.evict(start.id);
  engine.instances.insert({
    ...row,
    executionId,
    status: 'Pending',
    output: null,
    customStatus: null,
    createdMs: nowMs,
    updatedMs: nowMs,
    nextSeq: 0,
    lastTurnMs: 0,
    lock: null,
    rewindFrom: null,
  });
  if (trace !== undefined) engine.instances.saveTraceParent(start.id, trace);
  postStart(engine, wakes, { ...row, executionId });
}

function traceOf(engine: Engine, parent: ParentLink | null): string | undefined {
  return parent === null ? undefined : engine.instances.traceParent(parent.instanceId);
}

/** Puts the first event of an execution into the instance's inbox. Call within a transaction. */
export function postStart(
  engine: Engine,
  wakes: Wakes,
  start: Omit<NewInstance, 'parent'> & { readonly executionId: string },
): void {
  engine.work.post({
    instanceId: start.id,
    executionId: start.executionId,
    kind: 'start',
    event: {
      EventType: EventType.ExecutionStarted,
      EventId: -1,
      Name: start.name,
      Version: start.version,
      Input: start.input,
      OrchestrationInstance: { InstanceId: start.id, ExecutionId: start.executionId },
    },
  });
  wakes.instances.add(start.id);
}
