import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { unwrap } from '../../src/durable/envelope.ts';
import type { StepAnswer, StepContract, StepVerb } from '../../src/durable/saga/step.ts';
import type { ShardId, UserId } from '../../src/kernel/ids.ts';
import type { Timestamp } from '../../src/kernel/time.ts';
import type { OrphanReport, SagaLife } from '../../src/sagas/modules.ts';
import { bucketOf } from '../../src/sharding/hash.ts';
import {
  confirmEmail,
  createUser,
  releaseOldEmail,
  reserveEmail,
  updateUser,
} from '../../src/users/contracts.ts';
import { parseEmail, type Email } from '../../src/users/email.ts';
import { usersDurable, usersSettlers } from '../../src/users/sagas.ts';
import { silentLogger } from '../support/drive-orchestrator.ts';
import {
  emailsOnShard,
  startSliceApp,
  userIdsOnShard,
  type SliceApp,
} from '../support/slice-app.ts';

/** Deliveries of single steps, in every order that crashes, duplicates and two sagas at once can bring about. */
let app: SliceApp;
beforeAll(async () => {
  app = await startSliceApp({ SAGA_STEP_DEADLINE_MS: '3000' });
  await app.services.database.prewarm();
});
afterAll(() => app.stop());

const CREATED_AT = '2026-01-01T00:00:00.000Z' as Timestamp;

async function deliver<Input, Output>(
  contract: StepContract<Input, Output>,
  sagaId: string,
  verb: StepVerb,
  input: NoInfer<Input>,
): Promise<StepAnswer> {
  const activity = usersDurable.activities.find((one) => one.contract === contract.activity);
  if (activity === undefined) throw new Error(`no code for ${contract.name}`);
  const step = contract.name.replace('users-', '');
  const run = { instanceId: sagaId, logger: silentLogger };
  const payload = JSON.parse(JSON.stringify({ sagaId, step, verb, input })) as unknown;
  return unwrap(contract.activity, await activity.bind(app.services)(payload, run));
}

/** Kind of the answer, and the code of a refusal or failure. */
function told(answer: StepAnswer): string {
  const error = 'error' in answer ? ` ${answer.error.code}` : '';
  return answer.kind + error;
}

interface Party {
  readonly userId: UserId;
  /** On three shards other than each other's. */
  readonly emails: readonly [Email, Email, Email];
}

let parties = 0;

function newParty(): Party {
  parties += 1;
  const userId = userIdsOnShard(0, parties, 80_000)[parties - 1] as UserId;
  const emails = [0, 1, 2].map((shard) => {
    const [text] = emailsOnShard(shard, 1, `party${parties}on${shard}x`);
    return parseEmail(text) as Email;
  });
  return { userId, emails: emails as unknown as Party['emails'] };
}

/** A user registered with the first email, step by step. */
async function registered(): Promise<Party> {
  const party = newParty();
  const { userId, emails } = party;
  const saga = `reg-${userId}`;
  const email = emails[0].normalized;
  await deliver(reserveEmail, saga, 'run', { userId, email, purpose: 'register' });
  await deliver(createUser, saga, 'run', { userId, email: emails[0], createdAt: CREATED_AT });
  await deliver(confirmEmail, saga, 'run', { userId, email });
  await expectSound(party);
  return party;
}

/** One change-email saga, a step at a time. */
function changing(sagaId: string, { userId }: Party, email: Email) {
  let held = false;
  let old: Email['normalized'] | null = null;
  const reserved = { userId, email: email.normalized, purpose: 'change' as const };
  return {
    reserve: async (): Promise<string> => {
      const answer = await deliver(reserveEmail, sagaId, 'run', reserved);
      if (answer.kind === 'done') held = (answer.value as { held: boolean }).held;
      return told(answer) + (held ? ' held' : '');
    },
    undoReserve: async (): Promise<string> =>
      told(await deliver(reserveEmail, sagaId, 'undo', reserved)),
    update: async (): Promise<string> => {
      const answer = await deliver(updateUser, sagaId, 'run', { userId, email, held });
      if (answer.kind === 'done') old = (answer.value as { old: typeof old }).old;
      return told(answer);
    },
    sealUpdate: async (): Promise<string> =>
      told(await deliver(updateUser, sagaId, 'seal', { userId, email, held })),
    confirm: async (): Promise<string> =>
      told(await deliver(confirmEmail, sagaId, 'run', { userId, email: email.normalized })),
    release: async (): Promise<string> =>
      told(await deliver(releaseOldEmail, sagaId, 'run', { userId, old })),
  };
}

async function stateOf(email: Email): Promise<string> {
  const [row] = await app.rows(
    bucketOf(email.normalized) % 3,
    'SELECT state, user_id FROM email_directory WHERE email = ?',
    [email.normalized],
  );
  return row === undefined ? 'free' : String(row['state']);
}

async function statesOf({ emails }: Party): Promise<readonly string[]> {
  return await Promise.all(emails.map(stateOf));
}

async function emailOf({ userId }: Party): Promise<string | undefined> {
  const reply = await app.call('users-get', { params: { userId } });
  return reply.json['email'] as string | undefined;
}

/** The invariant of the directory: the email of the user's row is held for that user. */
async function expectSound(party: Party): Promise<void> {
  const address = await emailOf(party);
  if (address === undefined) return;
  const email = parseEmail(address) as Email;
  const [row] = await app.rows(
    bucketOf(email.normalized) % 3,
    `SELECT user_id FROM email_directory WHERE email = ? AND state <> 'released'`,
    [email.normalized],
  );
  expect(row?.['user_id'], `${address} of user ${party.userId}`).toBe(party.userId);
}

describe('registration', () => {
  test('each step once, however often it is delivered', async () => {
    const party = newParty();
    const { userId, emails } = party;
    const [email] = emails;
    const reserve = { userId, email: email.normalized, purpose: 'register' as const };
    const create = { userId, email, createdAt: CREATED_AT };
    for (const replayed of [false, true]) {
      const answer = await deliver(reserveEmail, 's1', 'run', reserve);
      expect(answer).toEqual({ kind: 'done', value: { held: false }, replayed });
    }
    expect(await stateOf(email)).toBe('reserved');
    for (let n = 0; n < 2; n += 1) {
      expect(told(await deliver(createUser, 's1', 'run', create))).toBe('done');
    }
    const confirm = { userId, email: email.normalized };
    for (let n = 0; n < 2; n += 1) {
      expect(told(await deliver(confirmEmail, 's1', 'run', confirm))).toBe('done');
    }
    expect(await stateOf(email)).toBe('confirmed');
    await expectSound(party);
  });

  test('is refused while another one is about to have the email, also one of the same user', async () => {
    const party = newParty();
    const { userId, emails } = party;
    const input = { userId, email: emails[1].normalized, purpose: 'register' as const };
    await deliver(reserveEmail, 's2a', 'run', input);
    expect(told(await deliver(reserveEmail, 's2b', 'run', input))).toBe('refused email-taken');
    const other = { ...input, userId: newParty().userId };
    expect(told(await deliver(reserveEmail, 's2c', 'run', other))).toBe('refused email-taken');
    // What was refused changed nothing, and its undo takes nothing from the holder.
    for (const saga of ['s2b', 's2c']) {
      expect(told(await deliver(reserveEmail, saga, 'undo', input))).toBe('undone');
    }
    expect(await stateOf(emails[1])).toBe('reserved');
    expect(told(await deliver(reserveEmail, 's2a', 'undo', input))).toBe('undone');
    expect(await stateOf(emails[1])).toBe('released');
    expect(told(await deliver(reserveEmail, 's2d', 'run', other))).toBe('done');
    // Too late: neither step nor undo of the loser touches what is another's now.
    expect(told(await deliver(reserveEmail, 's2a', 'run', input))).toBe('undone');
    expect(told(await deliver(reserveEmail, 's2a', 'undo', input))).toBe('undone');
    expect(await stateOf(emails[1])).toBe('reserved');
  });

  test('an undo that comes first keeps the late step out', async () => {
    const { userId, emails } = newParty();
    const input = { userId, email: emails[2].normalized, purpose: 'register' as const };
    expect(told(await deliver(reserveEmail, 's3', 'undo', input))).toBe('undone');
    expect(told(await deliver(reserveEmail, 's3', 'run', input))).toBe('undone');
    expect(await stateOf(emails[2])).toBe('free');
  });

  test('saga ids that differ in case only are two', async () => {
    const { userId, emails } = newParty();
    const input = { userId, email: emails[2].normalized, purpose: 'register' as const };
    await deliver(reserveEmail, 'Case', 'run', input);
    expect(told(await deliver(reserveEmail, 'case', 'run', input))).toBe('refused email-taken');
  });

  test('with an id in use is refused', async () => {
    const { userId } = await registered();
    const { emails } = newParty();
    const create = { userId, email: emails[0], createdAt: CREATED_AT };
    expect(told(await deliver(createUser, 's4', 'run', create))).toBe('refused user-conflict');
  });
});

describe('change of email', () => {
  test('an unknown user is refused, and the reservation taken back', async () => {
    const party = newParty();
    const saga = changing('c0', party, party.emails[1]);
    expect(await saga.reserve()).toBe('done');
    expect(await saga.update()).toBe('refused user-not-found');
    expect(await saga.sealUpdate()).toBe('sealed');
    expect(await saga.undoReserve()).toBe('undone');
    expect(await stateOf(party.emails[1])).toBe('released');
  });

  test('to an email of somebody else is refused for good', async () => {
    const [party, other] = [await registered(), await registered()];
    expect(await changing('c1', party, other.emails[0]).reserve()).toBe('refused email-taken');
  });

  test('a second saga may take the email away before the first has confirmed it', async () => {
    const party = await registered();
    const [e0, e1, e2] = party.emails;
    const a = changing('a1', party, e1);
    const b = changing('b1', party, e2);
    expect([await a.reserve(), await a.update()]).toEqual(['done', 'done']);
    await expectSound(party);
    expect([await b.reserve(), await b.update()]).toEqual(['done', 'done']);
    await expectSound(party);
    // B frees what A still has reserved: the user's row has it no more.
    expect([await b.confirm(), await b.release()]).toEqual(['done', 'done']);
    expect(await statesOf(party)).toEqual(['confirmed', 'released', 'confirmed']);
    const other = newParty();
    const taker = { userId: other.userId, email: e1.normalized, purpose: 'register' as const };
    expect(told(await deliver(reserveEmail, 'taker1', 'run', taker))).toBe('done');
    // A's late steps find nothing of A, and leave the new holder alone.
    expect([await a.confirm(), await a.release()]).toEqual(['done', 'done']);
    expect(await statesOf(party)).toEqual(['released', 'reserved', 'confirmed']);
    expect(await emailOf(party)).toBe(e2.address);
    expect(await stateOf(e0)).toBe('released');
    await expectSound(party);
  });

  test('back to an email that is not free again yet is refused, then works', async () => {
    const party = await registered();
    const [e0, e1] = party.emails;
    const a = changing('a2', party, e1);
    expect([await a.reserve(), await a.update()]).toEqual(['done', 'done']);
    const back = changing('b2', party, e0);
    expect(await back.reserve()).toBe('done held');
    expect(await back.update()).toBe('refused conflict');
    expect([await back.sealUpdate(), await back.undoReserve()]).toEqual(['sealed', 'undone']);
    expect([await a.confirm(), await a.release()]).toEqual(['done', 'done']);
    expect(await statesOf(party)).toEqual(['released', 'confirmed', 'free']);
    const again = changing('b2x', party, e0);
    expect([await again.reserve(), await again.update()]).toEqual(['done', 'done']);
    // Delivered again, the release of the first saga frees nothing: it was done once.
    expect(await a.release()).toBe('done');
    expect([await again.confirm(), await again.release()]).toEqual(['done', 'done']);
    expect(await statesOf(party)).toEqual(['confirmed', 'released', 'free']);
    await expectSound(party);
  });

  test('a look that found the email held is worth nothing once the row has another one', async () => {
    const party = await registered();
    const [e0, e1] = party.emails;
    const same = changing('b3', party, e0);
    expect(await same.reserve()).toBe('done held');
    const a = changing('a3', party, e1);
    for (const step of [a.reserve, a.update, a.confirm, a.release])
      expect(await step()).toBe('done');
    // Somebody else has the email by now.
    const other = newParty();
    const taker = { userId: other.userId, email: e0.normalized, purpose: 'register' as const };
    expect(told(await deliver(reserveEmail, 'taker3', 'run', taker))).toBe('done');
    expect(await same.update()).toBe('refused conflict');
    expect(await same.undoReserve()).toBe('undone');
    expect(await statesOf(party)).toEqual(['reserved', 'confirmed', 'free']);
    expect(await emailOf(party)).toBe(e1.address);
  });

  test('two sagas of a user to one email: the second waits, then finds it held', async () => {
    const party = await registered();
    const [, e1] = party.emails;
    const a = changing('a4', party, e1);
    const b = changing('b4', party, {
      ...e1,
      address: e1.address.toUpperCase() as Email['address'],
    });
    expect(await a.reserve()).toBe('done');
    expect(await b.reserve()).toBe('failed email-taken');
    expect([await a.update(), await b.reserve()]).toEqual(['done', 'failed email-taken']);
    expect([await a.confirm(), await b.reserve()]).toEqual(['done', 'done held']);
    expect([await b.update(), await b.confirm(), await b.release()]).toEqual([
      'done',
      'done',
      'done',
    ]);
    expect(await a.release()).toBe('done');
    expect(await statesOf(party)).toEqual(['released', 'confirmed', 'free']);
    expect(await emailOf(party)).toBe(e1.address.toUpperCase());
  });

  test('two sagas of a user to one email: the first is taken back, the second goes on', async () => {
    const party = await registered();
    const [, e1] = party.emails;
    const [a, b] = [changing('a5', party, e1), changing('b5', party, e1)];
    expect([await a.reserve(), await b.reserve()]).toEqual(['done', 'failed email-taken']);
    expect([await a.sealUpdate(), await a.undoReserve()]).toEqual(['sealed', 'undone']);
    for (const step of [b.reserve, b.update, b.confirm, b.release])
      expect(await step()).toBe('done');
    expect([await a.update(), await a.undoReserve()]).toEqual(['sealed', 'undone']);
    expect(await statesOf(party)).toEqual(['released', 'confirmed', 'free']);
    await expectSound(party);
  });
});

describe('settling reservations whose saga is gone', () => {
  const settle = async (email: Email, life: SagaLife = 'unknown'): Promise<OrphanReport> => {
    const [settler] = usersSettlers;
    if (settler === undefined) throw new Error('there is no settler');
    return await settler.settle(app.services, {
      shard: (bucketOf(email.normalized) % 3) as ShardId,
      olderThanMs: Date.now() + 1_000,
      limit: 200,
      lifeOf: () => Promise.resolve(life),
    });
  };
  /** Nothing is left over from the tests before. */
  const settleAll = async (): Promise<void> => {
    for (const email of newParty().emails) await settle(email);
  };

  test('before the pivot: released, and the late pivot is refused', async () => {
    await settleAll();
    const party = await registered();
    const saga = changing('o1', party, party.emails[1]);
    await saga.reserve();
    expect(await settle(party.emails[1], 'alive')).toEqual(report({ left: 1 }));
    expect(await settle(party.emails[1])).toEqual(report({ released: 1 }));
    expect(await settle(party.emails[1])).toEqual(report({}));
    expect(await saga.update()).toBe('sealed');
    expect(await saga.undoReserve()).toBe('undone');
    expect(await statesOf(party)).toEqual(['confirmed', 'released', 'free']);
    await expectSound(party);
  });

  test('of a registration: released before, confirmed after the pivot', async () => {
    const party = newParty();
    const { userId, emails } = party;
    const [first, , second] = emails;
    const input = { userId, email: first.normalized, purpose: 'register' as const };
    await deliver(reserveEmail, 'o2a', 'run', input);
    expect(await settle(first)).toEqual(report({ released: 1 }));
    const create = { userId, email: first, createdAt: CREATED_AT };
    expect(told(await deliver(createUser, 'o2a', 'run', create))).toBe('sealed');
    await deliver(reserveEmail, 'o2b', 'run', { ...input, email: second.normalized });
    await deliver(createUser, 'o2b', 'run', { ...create, email: second });
    expect(await settle(second)).toEqual(report({ confirmed: 1 }));
    expect(await stateOf(second)).toBe('confirmed');
    await expectSound(party);
  });

  test('after the pivot: confirmed, even when another saga has taken the email away since', async () => {
    const party = await registered();
    const [, e1, e2] = party.emails;
    const [a, b] = [changing('o3a', party, e1), changing('o3b', party, e2)];
    await a.reserve();
    await a.update();
    await b.reserve();
    await b.update();
    expect(await settle(e1)).toEqual(report({ confirmed: 1 }));
    // Were it free, the user could have it again, and B would then free an email in use.
    const back = changing('o3c', party, e1);
    expect(await back.reserve()).toBe('done held');
    expect(await back.update()).toBe('refused conflict');
    expect([await b.confirm(), await b.release()]).toEqual(['done', 'done']);
    expect(await statesOf(party)).toEqual(['confirmed', 'released', 'confirmed']);
    expect(await a.release()).toBe('done');
    expect(await statesOf(party)).toEqual(['released', 'released', 'confirmed']);
    await expectSound(party);
  });

  test('a shard that must be asked and is away leaves it for later', async () => {
    const party = newParty();
    const email = party.emails[1];
    const input = { userId: party.userId, email: email.normalized, purpose: 'register' as const };
    await deliver(reserveEmail, 'o4', 'run', input);
    await app.databases.stack.stopShard(0);
    expect(await settle(email)).toEqual(report({ left: 1 }));
    await app.databases.stack.startShard(0);
    await expect
      .poll(async () => (await settle(email)).released, { timeout: 20_000, interval: 500 })
      .toBe(1);
  });
});

function report(part: Partial<OrphanReport>): OrphanReport {
  const whole = { confirmed: 0, released: 0, left: 0, ...part };
  return { ...whole, found: whole.confirmed + whole.released + whole.left };
}
