import type { SqlRow } from '../database/contracts.ts';
import { bucketOf } from '../sharding/hash.ts';
import { fromSqlDatetime } from '../kernel/time.ts';

/** `orders.state` (ADR 0015). */
export const ORDER_STATE = { plain: 0, locked: 1, pending: 2, moved: 3 } as const;

/** What one bucket holds under an order's id, of one moment. */
export interface Holding {
  readonly bucket: number;
  readonly orderId: string;
  readonly order:
    | {
        readonly userId: string;
        readonly placedFor: string | null;
        readonly amountCents: number;
        readonly createdAt: string;
        readonly state: number;
      }
    | undefined;
  readonly transfer:
    | {
        readonly userId: string;
        readonly peerUserId: string;
        readonly state: number;
        readonly sagaId: string;
        readonly updatedAt: string;
      }
    | undefined;
}

/** From the columns of `HOLDING` in statements.ts. */
export function holdingOf(row: SqlRow, bucket: number, orderId: string): Holding {
  return {
    bucket,
    orderId,
    order:
      row['found'] === null
        ? undefined
        : {
            userId: String(row['o_user_id']),
            placedFor: row['placed_for'] === null ? null : String(row['placed_for']),
            amountCents: Number(row['amount_cents']),
            createdAt: fromSqlDatetime(String(row['created_at'])),
            state: Number(row['o_state']),
          },
    transfer:
      row['t_state'] === null
        ? undefined
        : {
            userId: String(row['t_user_id']),
            peerUserId: String(row['peer_user_id']),
            state: Number(row['t_state']),
            sagaId: String(row['saga_id']),
            updatedAt: fromSqlDatetime(String(row['updated_at'])),
          },
  };
}

/** Seen in a list and counted in the total. */
export function isVisible({ order }: Holding): boolean {
  return order?.state === ORDER_STATE.plain || order?.state === ORDER_STATE.locked;
}

/** The user's, or given to somebody else of the same bucket since, which leaves `placedFor`. */
export function isHeldFor({ order }: Holding, userId: string): boolean {
  return order !== undefined && (order.userId === userId || order.placedFor !== null);
}

/** The same order: a transfer keeps id, amount and creation time. */
export function isSameOrder(a: Holding, b: Holding): boolean {
  return (
    a.order !== undefined &&
    b.order !== undefined &&
    a.order.amountCents === b.order.amountCents &&
    a.order.createdAt === b.order.createdAt
  );
}

/** A walk from an order that is locked or has moved to where it is now. */
export interface Walk {
  readonly start: Holding;
  /** The traces walked along, `start` first. */
  readonly visited: readonly number[];
  /** Whose holding is read next, and what it must be. */
  readonly bucket: number;
  readonly userId: string;
  readonly sagaId: string;
  readonly expected: 'target' | 'successor' | 'source';
}

export type WalkStep =
  | { readonly kind: 'fits' }
  | { readonly kind: 'wrong'; readonly problem: string }
  | { readonly kind: 'on'; readonly walk: Walk };

const FITS: WalkStep = { kind: 'fits' };

function wrong(problem: string): WalkStep {
  return { kind: 'wrong', problem };
}

/** Where the walk of a transfer's row begins; undefined when there is nothing to follow. */
export function startWalk(start: Holding): Walk | undefined {
  const { transfer } = start;
  if (transfer?.state !== ORDER_STATE.locked && transfer?.state !== ORDER_STATE.moved) {
    return undefined;
  }
  return {
    start,
    visited: [start.bucket],
    bucket: bucketOf(transfer.peerUserId),
    userId: transfer.peerUserId,
    sagaId: transfer.sagaId,
    expected: transfer.state === ORDER_STATE.locked ? 'target' : 'successor',
  };
}

/** Judges the holding that the walk asked for; pure. */
export function walkOn(walk: Walk, found: Holding): WalkStep {
  const { start } = walk;
  switch (walk.expected) {
    case 'target':
      // Locked at its source: its target must not show it yet. A stranger's order of the same id is none of ours.
      return isVisible(start) &&
        isVisible(found) &&
        isSameOrder(start, found) &&
        isHeldFor(found, walk.userId)
        ? wrong('visible-twice')
        : FITS;
    case 'source':
      return judgeSource(walk, found);
    case 'successor':
      return judgeSuccessor(walk, found);
  }
}

function judgeSuccessor(walk: Walk, found: Holding): WalkStep {
  const { start } = walk;
  if (found.order === undefined) return wrong('successor-missing');
  if (!isSameOrder(start, found)) return wrong('successor-differs');
  if (isVisible(found)) {
    if (!isHeldFor(found, walk.userId)) return wrong('successor-of-another-user');
    return isVisible(start) ? wrong('visible-twice') : FITS;
  }
  const { transfer } = found;
  if (transfer === undefined) return wrong('successor-without-transfer');
  const next = { bucket: bucketOf(transfer.peerUserId), userId: transfer.peerUserId };
  if (transfer.state === ORDER_STATE.pending) {
    // It is on its way here by the saga that took it away, or is just coming back from somewhere by another one.
    if (transfer.sagaId === walk.sagaId) return FITS;
    const on: Walk = { ...walk, ...next, sagaId: transfer.sagaId, expected: 'source' };
    return { kind: 'on', walk: on };
  }
  if (walk.visited.includes(found.bucket)) return wrong('moved-in-a-circle');
  const visited = [...walk.visited, found.bucket];
  return { kind: 'on', walk: { ...walk, ...next, visited, sagaId: transfer.sagaId } };
}

/** The other end of a pending row: locked still, or moved by this saga. */
function judgeSource(walk: Walk, found: Holding): WalkStep {
  if (!isSameOrder(walk.start, found)) return wrong('pending-without-source');
  if (found.transfer?.sagaId !== walk.sagaId) return wrong('pending-without-source');
  const visible = isVisible(found) && isVisible(walk.start);
  return visible && found.bucket !== walk.start.bucket ? wrong('visible-twice') : FITS;
}
