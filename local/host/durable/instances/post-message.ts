import type { Engine, Wakes } from '../engine.ts';
import type { IncomingEvent } from '../turn/history-events.ts';
import { isTerminal, type InboxKind } from '../turn/turn.ts';

/**
 * Puts a message into the inbox of a running orchestration. Call within a transaction.
 *
 * Returns `false` without effect when the instance is gone or has ended, or when the message is meant
 * for an execution that is no longer the current one.
 */
export function postMessage(
  engine: Engine,
  wakes: Wakes,
  message: {
    readonly instanceId: string;
    readonly executionId: string | null;
    readonly kind: InboxKind;
    readonly event: IncomingEvent;
  },
): boolean {
  const row = engine.instances.get(message.instanceId);
  if (row === null || isTerminal(row.status)) return false;
  if (message.executionId !== null && message.executionId !== row.executionId) return false;
  engine.work.post(message);
  wakes.instances.add(message.instanceId);
  return true;
}
