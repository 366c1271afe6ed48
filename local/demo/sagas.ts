import { setTimeout as sleep } from 'node:timers/promises';
import { QueueServiceClient } from '@azure/storage-queue';
import { z } from 'zod';
import { bucketOf } from '../../src/sharding/hash.ts';
import { type Api, bucketMapReply, expectReply, type Reply, sagaReply } from './api.ts';
import type { Tally } from './tally.ts';

/** Two who want the same email at the same moment; neither lives on the shard of the email. */
const RIVALS = ['6006', '8008'];
const WANTED = 'alan@shardline.example';
const NEW_EMAIL = 'hopper@shardline.example';
/** Nobody; the bucket lies on another shard than that of user 2002. */
const NOBODY = '9009';
const DOOMED_SAGA = 'demo-transfer-to-nobody';
const SAGA_TRIES = 300;

export interface SagaChapter {
  readonly api: Api;
  readonly storageConnectionString: string;
  readonly print: (line: string) => void;
}

/** Shows writes that touch two shards; gives what was wrong (empty: all right) and what was new. */
export async function showSagas(
  chapter: SagaChapter,
): Promise<{ readonly wrong: readonly string[]; readonly tally: Tally }> {
  const wrong: string[] = [];
  const shardOf = await createShardNames(chapter.api);
  let created = await raceForEmail(chapter, shardOf, wrong);
  created += await changeEmail(chapter, shardOf, wrong);
  created += await moveOrder(chapter, shardOf, wrong);
  created += await failOnPurpose(chapter, shardOf, wrong);
  return { wrong, tally: { sent: 4, created } };
}

type ShardNames = (key: string) => string;

async function createShardNames(api: Api): Promise<ShardNames> {
  const map = expectReply(await api.send('GET', '/ops/bucket-map'), [200], bucketMapReply, 'map');
  return (key) => map.shards[map.assignment[bucketOf(key)] as number]?.name ?? '?';
}

async function raceForEmail(
  { api, print }: SagaChapter,
  shardOf: ShardNames,
  wrong: string[],
): Promise<number> {
  print(`  Users ${RIVALS.join(' and ')} register ${WANTED} at the same moment.`);
  const replies = await Promise.all(
    RIVALS.map((userId) => {
      const key = { 'idempotency-key': `demo-rival-${userId}` };
      return api.send('POST', '/users', { userId, email: WANTED }, key);
    }),
  );
  RIVALS.forEach((userId, index) => {
    const reply = replies[index] as Reply;
    print(
      `    user ${userId} on ${shardOf(userId)}, email on ${shardOf(WANTED)}: ${reply.status} ${codeOf(reply)}`,
    );
  });
  const winners = replies.filter((reply) => reply.status === 201 || reply.status === 200);
  const losers = replies.filter((reply) => reply.status === 409);
  if (winners.length !== 1 || losers.length !== 1) {
    wrong.push(
      `the race for ${WANTED} ended ${replies.map((reply) => reply.status).join(' and ')}`,
    );
  }
  return winners.filter((reply) => !reply.replayed).length;
}

async function changeEmail(
  { api, print }: SagaChapter,
  shardOf: ShardNames,
  wrong: string[],
): Promise<number> {
  const before = await emailOf(api, '2002');
  const reply = await api.send('PUT', '/users/2002/email', { email: NEW_EMAIL });
  expectReply(reply, [200], z.object({ email: z.literal(NEW_EMAIL) }), 'the change of an email');
  print(
    before === NEW_EMAIL
      ? `  User 2002 has ${NEW_EMAIL} already: ${reply.status}`
      : `  User 2002 on ${shardOf('2002')} changes ${before} (${shardOf(before)}) to ${NEW_EMAIL} (${shardOf(NEW_EMAIL)}): ${reply.status}`,
  );
  const found = await api.send('GET', `/users?email=${encodeURIComponent(NEW_EMAIL)}`);
  if (found.status !== 200) wrong.push(`${NEW_EMAIL} is not found after the change`);
  if (before === NEW_EMAIL) return 0;
  const old = await api.send('GET', `/users?email=${encodeURIComponent(before)}`);
  print(
    `    found by the new email: ${found.status}; by the old one: ${old.status}, it is free again`,
  );
  if (old.status !== 404) wrong.push(`${before} is still taken after the change`);
  return 1;
}

async function moveOrder(
  { api, print }: SagaChapter,
  shardOf: ShardNames,
  wrong: string[],
): Promise<number> {
  const body = { fromUserId: '3003', toUserId: '4004' };
  const key = { 'idempotency-key': 'demo-transfer-3' };
  const reply = await api.send('POST', '/orders/3/transfer', body, key);
  const { sagaId } = expectReply(reply, [200], z.object({ sagaId: z.string() }), 'the transfer');
  print(
    `  Order 3 moves from user 3003 on ${shardOf('3003')} to user 4004 on ${shardOf('4004')}: ${reply.status}`,
  );
  printSteps(await readSaga(api, sagaId), print);
  const from = await api.send('GET', '/users/3003/orders/3');
  const to = await api.send('GET', '/users/4004/orders/3');
  if (from.status !== 404 || to.status !== 200) {
    wrong.push(`order 3 is seen with ${from.status} at its source and ${to.status} at its target`);
  }
  return reply.replayed ? 0 : 1;
}

/** A transfer to nobody, by queue: its first step is done before the second is refused, and is taken back. */
async function failOnPurpose(
  { api, storageConnectionString, print }: SagaChapter,
  shardOf: ShardNames,
  wrong: string[],
): Promise<number> {
  print(
    `  A message asks for order 2 of user 2002 (${shardOf('2002')}) to go to user ${NOBODY} (${shardOf(NOBODY)}), who does not exist.`,
  );
  const known = await api.send('GET', `/sagas/${DOOMED_SAGA}`);
  const queue =
    QueueServiceClient.fromConnectionString(storageConnectionString).getQueueClient('sagas');
  await queue.createIfNotExists();
  const input = { orderId: '2', fromUserId: '2002', toUserId: NOBODY };
  const message = JSON.stringify({ kind: 'transfer-order', sagaId: DOOMED_SAGA, input });
  await queue.sendMessage(Buffer.from(message).toString('base64'));
  const saga = await waitForSaga(api, DOOMED_SAGA);
  printSteps(saga, print);
  const order = await api.send('GET', '/users/2002/orders/2');
  print(`    order 2 is still with user 2002: ${order.status}`);
  if (saga.status !== 'compensated') wrong.push(`the transfer to nobody ended ${saga.status}`);
  if (order.status !== 200) wrong.push('order 2 is gone after a transfer that was taken back');
  return known.status === 404 ? 1 : 0;
}

type Saga = z.infer<typeof sagaReply>;

async function readSaga(api: Api, sagaId: string): Promise<Saga> {
  return expectReply(await api.send('GET', `/sagas/${sagaId}`), [200], sagaReply, 'the saga');
}

async function waitForSaga(api: Api, sagaId: string): Promise<Saga> {
  for (let attempt = 0; attempt < SAGA_TRIES; attempt += 1) {
    const reply = await api.send('GET', `/sagas/${sagaId}`);
    if (reply.status === 200) {
      const saga = sagaReply.parse(reply.body);
      if (saga.status === 'completed' || saga.status === 'compensated') return saga;
    }
    await sleep(200);
  }
  throw new Error(
    `saga ${sagaId} did not end in time; look at GET /api/ops/poison?queue=sagas and at the host's log`,
  );
}

function printSteps(saga: Saga, print: (line: string) => void): void {
  const steps = saga.steps.map(({ name, state, lastError }) => {
    const why = lastError === undefined ? '' : ` (${lastError.code})`;
    return `${name}: ${state}${why}`;
  });
  print(`    ${saga.kind}: ${saga.status}   ${steps.join(', ')}`);
}

async function emailOf(api: Api, userId: string): Promise<string> {
  const reply = await api.send('GET', `/users/${userId}`);
  return expectReply(reply, [200], z.object({ email: z.string() }), 'the user').email;
}

function codeOf(reply: Reply): string {
  const problem = z.object({ code: z.string() }).safeParse(reply.body);
  return problem.success ? problem.data.code : 'registered';
}
