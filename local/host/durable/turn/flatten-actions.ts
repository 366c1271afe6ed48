import type { Action, AtomicAction } from './actions.ts';

/**
 * Lists the atomic actions of a turn's result depth-first, `Task.all`/`Task.any` replaced by their
 * children, each action *object* once.
 *
 * Identity matters: a task yielded in two `Task.any` is listed twice by the SDK and means one piece
 * of work (durable-js issue 574). It exists only on the objects of the process that ran the turn; a
 * list that went through JSON has lost it and would schedule such a task twice.
 *
 * @param list `state.actions` (`[[a, b]]`) or the executor's own flat list (`[a, b]`).
 */
export function flattenActions(list: unknown): AtomicAction[] {
  const flat: AtomicAction[] = [];
  const seen = new Set<unknown>();
  visit(list, flat, seen);
  return flat;
}

function visit(node: unknown, flat: AtomicAction[], seen: Set<unknown>): void {
  if (Array.isArray(node)) {
    for (const child of node) visit(child, flat, seen);
    return;
  }
  if (!isAction(node)) return;
  if ('compoundActions' in node) {
    for (const child of node.compoundActions) visit(child, flat, seen);
    return;
  }
  if (seen.has(node)) return;
  seen.add(node);
  flat.push(node);
}

function isAction(value: unknown): value is Action {
  return typeof value === 'object' && value !== null && 'actionType' in value;
}
