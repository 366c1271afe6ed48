import type { HttpClient } from './http.ts';
import type { Random } from './random.ts';

/** What the load did, by kind, and every answer that was not as it should be. */
export interface LoadResult {
  readonly counts: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
}

/** Writers, readers, transfers, registrations and looks at the revenue, all at once, over HTTP. */
export interface MixedLoad {
  /** Users with an order each. */
  seed(users: number): Promise<void>;
  start(): void;
  stop(): Promise<LoadResult>;
  /** Acknowledged writes that cannot be read now. */
  missing(): Promise<readonly string[]>;
}

interface Order {
  readonly id: string;
  readonly cents: number;
  owner: string;
}

const FIRST_USER = 500_000;
const AT_ONCE = 16;

export function createMixedLoad(http: HttpClient, random: Random): MixedLoad {
  const users: string[] = [];
  const orders = new Map<string, Order>();
  const counts: Record<string, number> = {};
  const failures: string[] = [];
  let nextUser = FIRST_USER;
  let acknowledgedCents = 0n;
  let sentCents = 0n;
  let running = false;
  let workers: Promise<void>[] = [];

  const expectStatus = (
    what: string,
    reply: { status: number; text: string },
    ...wanted: number[]
  ): boolean => {
    counts[what] = (counts[what] ?? 0) + 1;
    if (wanted.includes(reply.status)) return true;
    failures.push(`${what}: ${reply.status} ${reply.text.slice(0, 200)}`);
    return false;
  };
  const pick = <T>(items: readonly T[]): T => items[random.below(items.length)] as T;

  const register = async (): Promise<void> => {
    const userId = String(nextUser++);
    const reply = await http.post('/api/users', { userId, email: `u${userId}@example.com` });
    if (expectStatus('register', reply, 201)) users.push(userId);
  };
  const place = async (): Promise<void> => {
    const owner = pick(users);
    const cents = 1 + random.below(10_000);
    sentCents += BigInt(cents);
    const reply = await http.post(`/api/users/${owner}/orders`, { amountCents: cents });
    if (!expectStatus('place', reply, 201)) return;
    acknowledgedCents += BigInt(cents);
    const id = String(reply.json['orderId']);
    orders.set(id, { id, cents, owner });
  };
  const moving = new Set<string>();
  const transfer = async (): Promise<void> => {
    const order = pick([...orders.values()]);
    const toUserId = pick(users);
    if (moving.has(order.id) || toUserId === order.owner) return;
    moving.add(order.id);
    try {
      const body = { fromUserId: order.owner, toUserId };
      const reply = await http.post(`/api/orders/${order.id}/transfer`, body);
      // 202: it takes longer than a caller should wait, and goes on.
      if (!expectStatus('transfer', reply, 200, 202)) return;
      if (reply.status === 202 && !(await sagaEnds(String(reply.json['statusUrl'])))) return;
      order.owner = toUserId;
    } finally {
      moving.delete(order.id);
    }
  };
  const sagaEnds = async (statusUrl: string): Promise<boolean> => {
    for (let tries = 0; tries < 120; tries += 1) {
      const reply = await http.get(statusUrl);
      if (reply.json['status'] === 'completed') return true;
      if (reply.json['status'] !== 'running') break;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    failures.push(`transfer did not end: ${statusUrl}`);
    return false;
  };
  const read = async (): Promise<void> => {
    const order = pick([...orders.values()]);
    if (moving.has(order.id)) return;
    const { owner } = order;
    const reply = await http.get(`/api/users/${owner}/orders/${order.id}`);
    // It may have begun to move while it was read.
    if (moving.has(order.id) || owner !== order.owner) return;
    if (!expectStatus('read', reply, 200)) return;
    if (String(reply.json['amountCents']) === String(order.cents)) return;
    failures.push(`read: order ${order.id} has ${reply.text}, ${order.cents} were written`);
  };
  /** Never less than was acknowledged before, never more than was sent until after; an order on its way may be missing. */
  const revenue = async (): Promise<void> => {
    const least = acknowledgedCents;
    const before = [...moving].reduce((sum, id) => sum + BigInt(orders.get(id)?.cents ?? 0), 0n);
    const reply = await http.get('/api/revenue');
    const most = sentCents;
    const now = [...moving].reduce((sum, id) => sum + BigInt(orders.get(id)?.cents ?? 0), 0n);
    if (!expectStatus('revenue', reply, 200)) return;
    const total = BigInt(String(reply.json['totalCents']));
    if (reply.json['complete'] !== true || total > most || total < least - before - now) {
      failures.push(`revenue: ${reply.text.slice(0, 200)}; between ${least} and ${most}`);
    }
  };

  const repeat = async (act: () => Promise<void>, pauseMs: number): Promise<void> => {
    while (running) {
      try {
        await act();
      } catch (error) {
        failures.push(String(error));
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };

  return {
    seed: async (count) => {
      for (let from = 0; from < count; from += AT_ONCE) {
        await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - from) }, register));
      }
      for (let from = 0; from < count * 2; from += AT_ONCE) {
        await Promise.all(Array.from({ length: AT_ONCE }, place));
      }
      if (failures.length > 0) throw new Error(failures.join('\n'));
    },
    start: () => {
      running = true;
      for (const name of Object.keys(counts)) counts[name] = 0;
      workers = [
        repeat(place, 20),
        repeat(place, 20),
        repeat(read, 20),
        repeat(transfer, 100),
        repeat(register, 100),
        repeat(revenue, 200),
      ];
    },
    stop: async () => {
      running = false;
      await Promise.all(workers);
      return { counts, failures };
    },
    missing: async () => {
      const lost: string[] = [];
      const look = async (path: string): Promise<void> => {
        const reply = await http.get(path);
        if (reply.status !== 200) lost.push(`${path}: ${reply.status}`);
      };
      const paths = [
        ...users.map((user) => `/api/users/${user}`),
        ...[...orders.values()].map(({ owner, id }) => `/api/users/${owner}/orders/${id}`),
      ];
      for (let from = 0; from < paths.length; from += AT_ONCE) {
        await Promise.all(paths.slice(from, from + AT_ONCE).map(look));
      }
      const { json } = await http.get('/api/revenue');
      if (String(json['totalCents']) !== String(acknowledgedCents)) {
        lost.push(`revenue is ${String(json['totalCents'])}, not ${acknowledgedCents}`);
      }
      return lost;
    },
  };
}
