import { setTimeout as sleep } from 'node:timers/promises';
import type { Lane } from './world.ts';

/** An order without a key: sent once, and looked at from another instance when it was acknowledged. */
export async function place(lane: Lane): Promise<void> {
  const { userId } = lane.book.anyUser(lane.random);
  const cents = 1 + lane.random.below(10_000);
  lane.book.sending(cents);
  const path = `/api/users/${userId}/orders`;
  const answer = await lane.caller.once(
    'place',
    () => lane.http.post(path, { amountCents: cents }),
    [201],
  );
  if (answer.kind === 'unknown') lane.book.unknown(userId, cents);
  if (answer.kind !== 'as-wanted') return;
  const orderId = String(answer.reply.json['orderId']);
  lane.book.acknowledged({ orderId, cents, owner: userId });
  await readBack(lane, orderId);
}

/** An order with a key, sometimes sent twice: the second answer is the first one again. */
export async function placeWithKey(lane: Lane): Promise<void> {
  const { userId } = lane.book.anyUser(lane.random);
  const cents = 1 + lane.random.below(10_000);
  lane.book.sending(cents);
  const headers = { 'idempotency-key': `storm-order-${lane.next()}` };
  const path = `/api/users/${userId}/orders`;
  const body = { amountCents: cents };
  const send = (): ReturnType<typeof lane.http.post> => lane.http.post(path, body, headers);
  const answer = await lane.caller.insist('place with key', send, [201, 200]);
  if (answer.kind !== 'as-wanted') return;
  const orderId = String(answer.reply.json['orderId']);
  lane.book.acknowledged({ orderId, cents, owner: userId });
  if (lane.random.below(3) > 0) return;
  const again = await lane.caller.insist(
    'replay',
    () => lane.other.post(path, body, headers),
    [200],
  );
  if (again.kind === 'as-wanted' && again.reply.json['orderId'] !== orderId) {
    lane.caller.fail('replay', `${orderId} became ${again.reply.text}`);
  }
}

/** Asks another instance; undefined when the answer does not count because something changed meanwhile, or was wrong. */
async function lookAt(
  lane: Lane,
  what: string,
  path: string,
  subject: { readonly version: number },
): Promise<Record<string, unknown> | undefined> {
  const { version } = subject;
  const reply = lane.other.get(path);
  await reply.catch(() => undefined);
  if (subject.version !== version) return undefined;
  const answer = await lane.caller.once(what, () => reply, [200]);
  return answer.kind === 'as-wanted' ? answer.reply.json : undefined;
}

async function readBack(lane: Lane, orderId: string): Promise<void> {
  const order = lane.book.orders.get(orderId);
  if (order === undefined || order.isMoving) return;
  const found = await lookAt(lane, 'read', `/api/users/${order.owner}/orders/${orderId}`, order);
  if (found === undefined || Number(found['amountCents']) === order.cents) return;
  lane.caller.fail('read', `order ${orderId} of ${order.cents} is ${JSON.stringify(found)}`);
}

export async function read(lane: Lane): Promise<void> {
  await readBack(lane, lane.book.anyOrder(lane.random).orderId);
}

export async function transfer(lane: Lane): Promise<void> {
  const order = lane.book.anyOrder(lane.random);
  const toUserId = lane.book.anyUser(lane.random).userId;
  if (order.isMoving || order.owner === toUserId) return;
  const headers = { 'idempotency-key': `storm-transfer-${lane.next()}` };
  const body = { fromUserId: order.owner, toUserId };
  lane.book.transferBegins(order);
  const path = `/api/orders/${order.orderId}/transfer`;
  const answer = await lane.caller.insist(
    'transfer',
    () => lane.http.post(path, body, headers),
    [200, 202],
  );
  if (answer.kind !== 'as-wanted') return;
  if (!(await sagaCompletes(lane, 'transfer', answer.reply))) return;
  lane.book.transferEnds(order, toUserId);
  await readBack(lane, order.orderId);
}

export async function register(lane: Lane): Promise<void> {
  const userId = String(lane.next());
  const email = `u${userId}@example.com`;
  const headers = { 'idempotency-key': `storm-user-${userId}` };
  const answer = await lane.caller.insist(
    'register',
    () => lane.http.post('/api/users', { userId, email }, headers),
    [201, 200, 202],
  );
  if (answer.kind !== 'as-wanted') return;
  if (!(await sagaCompletes(lane, 'register', answer.reply))) return;
  lane.book.registered(userId, email);
  await findByEmail(lane, userId, email);
}

/** The user is found by the new email and not by the old one as soon as the change was acknowledged. */
export async function changeEmail(lane: Lane): Promise<void> {
  const user = lane.book.anyUser(lane.random);
  const [before] = user.emails;
  if (user.isChanging || user.emails.length > 1 || before === undefined) return;
  user.isChanging = true;
  user.version += 1;
  const email = `n${lane.next()}@example.com`;
  user.emails = [before, email];
  const path = `/api/users/${user.userId}/email`;
  const answer = await lane.caller.once(
    'change email',
    () => lane.http.put(path, { email }),
    [200, 202],
  );
  if (answer.kind !== 'as-wanted') return;
  if (!(await sagaCompletes(lane, 'change email', answer.reply))) return;
  user.emails = [email];
  user.isChanging = false;
  user.version += 1;
  await findByEmail(lane, user.userId, email);
  const old = `/api/users?email=${encodeURIComponent(before)}`;
  await lane.caller.once('find by old email', () => lane.other.get(old), [404]);
}

async function findByEmail(lane: Lane, userId: string, email: string): Promise<void> {
  const user = lane.book.users.get(userId);
  if (user === undefined || user.isChanging) return;
  const path = `/api/users?email=${encodeURIComponent(email)}`;
  const found = await lookAt(lane, 'find by email', path, user);
  if (found === undefined || found['userId'] === userId) return;
  lane.caller.fail('find by email', `${email} of ${userId} is ${JSON.stringify(found)}`);
}

export async function find(lane: Lane): Promise<void> {
  const user = lane.book.anyUser(lane.random);
  const [email] = user.emails;
  if (user.emails.length === 1 && email !== undefined) await findByEmail(lane, user.userId, email);
}

/** Longer than an outage lasts, and the waits of a saga after it. */
const SAGA_TIMEOUT_MS = 180_000;

async function sagaCompletes(
  lane: Lane,
  what: string,
  reply: { readonly status: number; readonly json: Record<string, unknown> },
): Promise<boolean> {
  if (reply.status !== 202) return true;
  const url = String(reply.json['statusUrl']);
  const deadline = performance.now() + SAGA_TIMEOUT_MS;
  while (performance.now() < deadline) {
    const answer = await lane.caller.insist(`${what}: saga`, () => lane.http.get(url), [200]);
    if (answer.kind !== 'as-wanted') return false;
    const { status } = answer.reply.json;
    if (status === 'completed') return true;
    if (status === 'compensated') {
      lane.caller.fail(what, `was taken back: ${answer.reply.text}`);
      return false;
    }
    await sleep(300);
  }
  lane.caller.fail(what, `${url} did not end`);
  return false;
}

/** The total is never less than what was acknowledged before, and never more than what was sent until after. */
export async function lookAtTotal(lane: Lane): Promise<void> {
  const bounds = lane.book.look();
  const answer = await lane.caller.once('revenue', () => lane.http.get('/api/revenue'), [200]);
  if (answer.kind !== 'as-wanted') return;
  const { least, most } = bounds();
  const { json, text } = answer.reply;
  const [orders, cents] = [Number(json['orders']), BigInt(String(json['totalCents']))];
  const isWithin =
    orders >= least.orders &&
    orders <= most.orders &&
    cents >= least.cents &&
    cents <= most.cents &&
    json['complete'] === true;
  if (isWithin) return;
  const told = `${orders} orders, ${cents} cents`;
  const wanted = `${least.orders} to ${most.orders} orders, ${least.cents} to ${most.cents} cents`;
  lane.caller.fail('revenue', `${told} where ${wanted} are right: ${text}`);
}
