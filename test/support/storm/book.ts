import type { Random } from '../random.ts';

/** An order as its caller knows it. `isMoving`: a transfer of it was begun and has not ended. */
export interface BookedOrder {
  readonly orderId: string;
  readonly cents: number;
  owner: string;
  isMoving: boolean;
  /** Rises with each change, so that a reader notices one that fell into its read. */
  version: number;
}

export interface BookedUser {
  readonly userId: string;
  /** More than one after a change whose outcome is unknown; the first is the one from before. */
  emails: readonly string[];
  isChanging: boolean;
  version: number;
}

export interface Sum {
  readonly orders: number;
  readonly cents: bigint;
}

/** What the callers of a storm know: what was acknowledged, what may be there, what is on its way. */
export interface Book {
  readonly orders: ReadonlyMap<string, BookedOrder>;
  readonly users: ReadonlyMap<string, BookedUser>;
  /** Orders without an id of the caller's whose answer never came, as `userId/cents`. */
  readonly uncertain: readonly string[];
  /** About to be sent: from now on it may be counted. */
  sending(cents: number): void;
  /** Known to be there: from now on it must be counted. */
  acknowledged(order: Pick<BookedOrder, 'orderId' | 'cents' | 'owner'>): void;
  unknown(userId: string, cents: number): void;
  registered(userId: string, email: string): void;
  /** While an order is transferred it may be missing from the total. */
  transferBegins(order: BookedOrder): void;
  transferEnds(order: BookedOrder, owner: string): void;
  /** Begins a look at the total; the answer gives the bounds that hold when the look is over. */
  look(): () => { readonly least: Sum; readonly most: Sum };
  anyOrder(random: Random): BookedOrder;
  anyUser(random: Random): BookedUser;
}

interface Tally {
  orders: number;
  cents: bigint;
}

export function createBook(): Book {
  const orders = new Map<string, BookedOrder>();
  const users = new Map<string, BookedUser>();
  const orderList: BookedOrder[] = [];
  const userList: BookedUser[] = [];
  const uncertain: string[] = [];
  const tally = (): Tally => ({ orders: 0, cents: 0n });
  const [sent, sure, begun, ended] = [tally(), tally(), tally(), tally()];
  const add = (to: Tally, cents: number): void => {
    to.orders += 1;
    to.cents += BigInt(cents);
  };
  return {
    orders,
    users,
    uncertain,
    sending: (cents) => add(sent, cents),
    acknowledged: (known) => {
      if (orders.has(known.orderId)) throw new Error(`order ${known.orderId} came twice`);
      add(sure, known.cents);
      const order = { ...known, isMoving: false, version: 0 };
      orders.set(order.orderId, order);
      orderList.push(order);
    },
    unknown: (userId, cents) => uncertain.push(`${userId}/${cents}`),
    registered: (userId, email) => {
      const user = { userId, emails: [email], isChanging: false, version: 0 };
      users.set(userId, user);
      userList.push(user);
    },
    transferBegins: (order) => {
      order.isMoving = true;
      order.version += 1;
      add(begun, order.cents);
    },
    transferEnds: (order, owner) => {
      order.isMoving = false;
      order.version += 1;
      order.owner = owner;
      add(ended, order.cents);
    },
    look: () => {
      const [known, over] = [{ ...sure }, { ...ended }];
      return () => ({
        least: {
          orders: known.orders - (begun.orders - over.orders),
          cents: known.cents - (begun.cents - over.cents),
        },
        most: { ...sent },
      });
    },
    anyOrder: (random) => orderList[random.below(orderList.length)] as BookedOrder,
    anyUser: (random) => userList[random.below(userList.length)] as BookedUser,
  };
}
