import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.ts';
import type { HttpReply } from '../support/http.ts';
import { createRandom, type Random } from '../support/random.ts';
import { onEveryShard } from '../support/sagas/cases.ts';
import { shuffled } from '../support/sagas/matrix.ts';
import { createKeys, shardOf, SHARDS } from '../support/sagas/placement.ts';
import { endedSaga, expectNothingHeld } from '../support/sagas/watch.ts';
import { expectGreen, verifyCluster } from '../support/verify.ts';

/**
 * Many registrations for few addresses at once: each address gets one user, everybody else is told that it is taken,
 * whichever way they came (one transaction or saga, HTTP or queue, one instance or the other).
 */
const ADDRESSES = 20;
const PER_ADDRESS = 10;

let one: TestApp;
let two: TestApp;
beforeAll(async () => {
  one = await startTestApp();
  two = await startTestApp({ beside: one });
});
afterAll(async () => {
  await two.stop();
  await one.stop();
});

interface Registration {
  readonly address: string;
  readonly way: 'http' | 'queue';
  readonly app: TestApp;
  readonly body: { readonly email: string; readonly userId?: string };
  readonly sagaId: string;
}

/** `registered`; `taken`: refused with `email-taken`; anything else in words. */
type Answer = string;

/** Half name their user id, on another shard than the email's; a fifth comes by the queue. */
function makeRegistrations(random: Random): readonly Registration[] {
  const keys = createKeys(10_000);
  const list = Array.from({ length: ADDRESSES }, () => keys.emailOn(random.below(SHARDS))).flatMap(
    (address, at) =>
      Array.from({ length: PER_ADDRESS }, (_, index): Registration => {
        const elsewhere = (shardOf(address) + 1 + random.below(SHARDS - 1)) % SHARDS;
        // A single transaction usually wins over a saga: some addresses are left to the sagas alone.
        const isNamed = at % 4 === 0 || (at % 4 !== 2 && index % 2 === 0);
        const userId = isNamed ? { userId: keys.userOn(elsewhere) } : {};
        return {
          address,
          way: index % 5 === 4 ? 'queue' : 'http',
          app: random.below(2) === 0 ? one : two,
          body: { email: disguised(address, random), ...userId },
          sagaId: `race-${address.replace('@', '-at-')}-${index}`,
        };
      }),
  );
  return shuffled(list, random);
}

/** The same address in other letters, with white space around it. */
function disguised(address: string, random: Random): string {
  const mixed = address.replaceAll(/[a-z]/g, (letter) =>
    random.below(2) === 0 ? letter.toUpperCase() : letter,
  );
  return `${' '.repeat(random.below(3))}${mixed}${'\t'.repeat(random.below(2))}`;
}

async function register(registration: Registration): Promise<Answer> {
  const { app, way, body, sagaId } = registration;
  if (way === 'queue') {
    await app.enqueue('sagas', { kind: 'register-user', sagaId, input: body });
    return await answerOfSaga(app, sagaId);
  }
  const reply = await app.http.post('/api/users', body);
  return reply.status === 202
    ? await answerOfSaga(app, String(reply.json['sagaId']))
    : answerOf(reply);
}

function answerOf(reply: HttpReply): Answer {
  if (reply.status === 201) return 'registered';
  if (reply.status === 409 && reply.json['code'] === 'email-taken') return 'taken';
  return `${reply.status} ${reply.text}`;
}

async function answerOfSaga(app: TestApp, sagaId: string): Promise<Answer> {
  const saga = await endedSaga(app, sagaId);
  if (saga['status'] === 'completed') return 'registered';
  const text = JSON.stringify(saga);
  return text.includes('"email-taken"') ? 'taken' : text;
}

test(`${ADDRESSES * PER_ADDRESS} registrations for ${ADDRESSES} addresses make ${ADDRESSES} users`, async () => {
  const random = createRandom();
  console.log(`seed ${random.seed}`);
  const registrations = makeRegistrations(random);
  const startedMs = performance.now();
  const answers = await Promise.all(
    registrations.map(async (registration) => ({
      registration,
      answer: await register(registration),
    })),
  );
  const seconds = Math.round((performance.now() - startedMs) / 100) / 10;

  const counts = new Map<string, number>();
  for (const { registration, answer } of answers) {
    const key = `${registration.way} ${registration.body.userId === undefined ? 'without' : 'with'} id: ${answer}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  console.log(`${registrations.length} registrations in ${seconds} s`, Object.fromEntries(counts));

  const winners = answers.filter(({ answer }) => answer === 'registered');
  expect(winners.map(({ registration }) => registration.address).toSorted()).toEqual(
    [...new Set(registrations.map(({ address }) => address))].toSorted(),
  );
  expect(answers.filter(({ answer }) => answer === 'taken')).toHaveLength(
    registrations.length - ADDRESSES,
  );

  const users = await onEveryShard(one, 'SELECT user_id, email FROM users');
  expect(users.map((user) => String(user['email']).toLowerCase()).toSorted()).toEqual(
    [...new Set(registrations.map(({ address }) => address))].toSorted(),
  );
  const directory = await onEveryShard(
    one,
    "SELECT user_id FROM email_directory WHERE state <> 'released'",
  );
  const ids = (rows: readonly Record<string, unknown>[]): string[] =>
    rows.map((row) => String(row['user_id'])).toSorted();
  expect(ids(directory)).toEqual(ids(users));
  await expectNothingHeld(one);
  expect(await one.poisonCount('sagas')).toBe(0);
  expectGreen(await verifyCluster(one));
});
