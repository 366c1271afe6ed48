import { hash } from 'node:crypto';
import { expect } from 'vitest';
import type { TestApp } from '../app.ts';
import type { Random } from '../random.ts';
import { type Keys, shardOf, shardsFrom } from './placement.ts';

/** One saga of a test: data of its own, placed so that it runs as a saga, and what must be true in the end. */
export interface SagaCase {
  /** The message of the queue `sagas`. */
  readonly message: { readonly kind: string; readonly input: Readonly<Record<string, unknown>> };
  /** Throws unless all effects are there, and nothing else is. */
  expectAll(): Promise<void>;
  /** Throws unless nothing of the saga is there. */
  expectNothing(): Promise<void>;
}

export type SagaKind = 'register-user' | 'change-email' | 'transfer-order';

export interface CaseWorld {
  readonly app: TestApp;
  readonly keys: Keys;
  readonly random: Random;
}

/** Where a case has its data. */
export interface Placement {
  /** The shard that this step works on is `shard`; all others are elsewhere. */
  readonly step: string;
  readonly shard: number;
  /** All on that shard: one local transaction, and no saga runs. */
  readonly together?: boolean;
}

/** Makes a case of a kind, with data of its own. */
export async function makeCase(world: CaseWorld, kind: SagaKind, at: Placement): Promise<SagaCase> {
  switch (kind) {
    case 'register-user':
      return registration(world, at);
    case 'change-email':
      return await emailChange(world, at);
    case 'transfer-order':
      return await transfer(world, at);
  }
}

/** Steps that are about the user's row; the others of these sagas are about an email. */
const USER_STEPS = new Set(['create-user', 'update-user']);
const TARGET_STEPS = new Set(['insert-pending', 'confirm-target']);

function registration({ app, keys, random }: CaseWorld, at: Placement): SagaCase {
  const [first, second] = shardsFrom(at, random);
  const isUserStep = USER_STEPS.has(at.step);
  const userId = keys.userOn(isUserStep ? first : second);
  const email = keys.emailOn(isUserStep ? second : first);
  return {
    message: { kind: 'register-user', input: { userId, email } },
    expectAll: async () => {
      expect(await emailOfUser(app, userId)).toEqual([email]);
      expect(await holderOf(app, email)).toBe(`confirmed ${userId}`);
      const found = await app.http.get(`/api/users?email=${encodeURIComponent(email)}`);
      expect([found.status, found.json['userId']]).toEqual([200, userId]);
    },
    expectNothing: async () => {
      expect(await emailOfUser(app, userId)).toEqual([]);
      expect(await holderOf(app, email)).toBe('nobody');
      expect((await app.http.get(`/api/users/${userId}`)).status).toBe(404);
    },
  };
}

async function emailChange(world: CaseWorld, at: Placement): Promise<SagaCase> {
  const { app, keys, random } = world;
  const [first, second, third] = shardsFrom(at, random);
  const place = (): readonly [number, number, number] => {
    if (USER_STEPS.has(at.step)) return [first, second, third];
    return at.step === 'release-old-email' ? [second, third, first] : [second, first, third];
  };
  const [userShard, freshShard, oldShard] = place();
  const userId = keys.userOn(userShard);
  const [fresh, old] = [keys.emailOn(freshShard), keys.emailOn(oldShard)];
  await registered(app, userId, old);
  return {
    message: { kind: 'change-email', input: { userId, email: fresh } },
    expectAll: async () => {
      expect(await emailOfUser(app, userId)).toEqual([fresh]);
      expect(await holderOf(app, fresh)).toBe(`confirmed ${userId}`);
      expect(await holderOf(app, old)).toBe('nobody');
    },
    expectNothing: async () => {
      expect(await emailOfUser(app, userId)).toEqual([old]);
      expect(await holderOf(app, fresh)).toBe('nobody');
      expect(await holderOf(app, old)).toBe(`confirmed ${userId}`);
    },
  };
}

async function transfer({ app, keys, random }: CaseWorld, at: Placement): Promise<SagaCase> {
  const [first, second] = shardsFrom(at, random);
  const isTargetStep = TARGET_STEPS.has(at.step);
  const source = isTargetStep ? second : first;
  const target = isTargetStep ? first : second;
  const fromUserId = await registered(app, keys.userOn(source), keys.emailOn(source));
  const toUserId = await registered(app, keys.userOn(target), keys.emailOn(target));
  const placed = await app.http.post(`/api/users/${fromUserId}/orders`, {
    amountCents: 1 + random.below(10_000),
    createdAt: '2026-03-04T05:06:07.089Z',
  });
  expect(placed.status).toBe(201);
  const orderId = String(placed.json['orderId']);
  const expectOwner = async (owner: string, other: string): Promise<void> => {
    const seen = await app.http.get(`/api/users/${owner}/orders/${orderId}`);
    expect(seen.json).toEqual({ ...placed.json, userId: owner });
    expect((await app.http.get(`/api/users/${other}/orders/${orderId}`)).status).toBe(404);
    expect(await visibleRows(app, orderId)).toEqual([owner]);
    expect(await openTransfers(app, orderId)).toEqual([]);
  };
  return {
    message: { kind: 'transfer-order', input: { orderId, fromUserId, toUserId } },
    expectAll: () => expectOwner(toUserId, fromUserId),
    expectNothing: () => expectOwner(fromUserId, toUserId),
  };
}

async function registered(app: TestApp, userId: string, email: string): Promise<string> {
  const reply = await app.http.post('/api/users', { userId, email });
  expect([reply.status, reply.text]).toEqual([201, expect.any(String)]);
  return userId;
}

async function emailOfUser(app: TestApp, userId: string): Promise<unknown[]> {
  const rows = await app.sql(shardOf(userId), 'SELECT email FROM users WHERE user_id = ?', [
    userId,
  ]);
  return rows.map((row) => row['email']);
}

/** Who has an email by the directory; a row that was released is nobody's. */
async function holderOf(app: TestApp, email: string): Promise<string> {
  const [row] = await app.sql(
    shardOf(email),
    'SELECT state, user_id FROM email_directory WHERE email_key = ?',
    [hash('sha256', email, 'buffer')],
  );
  if (row === undefined || row['state'] === 'released') return 'nobody';
  return `${String(row['state'])} ${String(row['user_id'])}`;
}

/** Users whose list shows the order: its rows as they are, or locked at the source. */
async function visibleRows(app: TestApp, orderId: string): Promise<unknown[]> {
  const rows = await onEveryShard(
    app,
    'SELECT user_id FROM orders WHERE order_id = ? AND state IN (0, 1)',
    [orderId],
  );
  return rows.map((row) => row['user_id']);
}

/** Rows of an order that are locked or pending. */
async function openTransfers(app: TestApp, orderId: string): Promise<Record<string, unknown>[]> {
  const text =
    'SELECT order_id, state FROM orders WHERE order_id = ? AND state IN (1, 2) ' +
    'UNION ALL SELECT order_id, state FROM order_transfers WHERE order_id = ? AND state IN (1, 2)';
  return await onEveryShard(app, text, [orderId, orderId]);
}

/** Rows of all shards, past the app. */
export async function onEveryShard(
  app: TestApp,
  text: string,
  values: readonly unknown[] = [],
): Promise<Record<string, unknown>[]> {
  const found = await Promise.all(app.shards.map((_, shard) => app.sql(shard, text, values)));
  return found.flat();
}
