import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { OrphanReport } from '../../src/sagas/modules.ts';
import { confirmEmail, createUser, reserveEmail } from '../../src/users/contracts.ts';
import type { Email } from '../../src/users/email.ts';
import { startSliceApp, type SliceApp } from '../support/slice-app.ts';
import { CREATED_AT, told, UserSteps } from '../support/user-steps.ts';

/** Deliveries of single steps, in every order that crashes, duplicates and two sagas at once can bring about. */
let app: SliceApp;
let steps: UserSteps;
beforeAll(async () => {
  app = await startSliceApp({ SAGA_STEP_DEADLINE_MS: '3000' });
  await app.services.database.prewarm();
  steps = new UserSteps(app);
});
afterAll(() => app.stop());

describe('registration', () => {
  test('each step once, however often it is delivered', async () => {
    const party = steps.newParty();
    const { userId, emails } = party;
    const [email] = emails;
    const reserve = { userId, email: email.normalized, purpose: 'register' as const };
    const create = { userId, email, createdAt: CREATED_AT };
    for (const replayed of [false, true]) {
      const answer = await steps.deliver(reserveEmail, 's1', 'run', reserve);
      expect(answer).toEqual({ kind: 'done', value: { held: false }, replayed });
    }
    expect(await steps.stateOf(email)).toBe('reserved');
    for (let n = 0; n < 2; n += 1) {
      expect(told(await steps.deliver(createUser, 's1', 'run', create))).toBe('done');
    }
    const confirm = { userId, email: email.normalized };
    for (let n = 0; n < 2; n += 1) {
      expect(told(await steps.deliver(confirmEmail, 's1', 'run', confirm))).toBe('done');
    }
    expect(await steps.stateOf(email)).toBe('confirmed');
    await steps.expectSound(party);
  });

  test('is refused while another one is about to have the email, also one of the same user', async () => {
    const party = steps.newParty();
    const { userId, emails } = party;
    const input = { userId, email: emails[1].normalized, purpose: 'register' as const };
    await steps.deliver(reserveEmail, 's2a', 'run', input);
    expect(told(await steps.deliver(reserveEmail, 's2b', 'run', input))).toBe(
      'refused email-taken',
    );
    const other = { ...input, userId: steps.newParty().userId };
    expect(told(await steps.deliver(reserveEmail, 's2c', 'run', other))).toBe(
      'refused email-taken',
    );
    // What was refused changed nothing, and its undo takes nothing from the holder.
    for (const saga of ['s2b', 's2c']) {
      expect(told(await steps.deliver(reserveEmail, saga, 'undo', input))).toBe('undone');
    }
    expect(await steps.stateOf(emails[1])).toBe('reserved');
    expect(told(await steps.deliver(reserveEmail, 's2a', 'undo', input))).toBe('undone');
    expect(await steps.stateOf(emails[1])).toBe('released');
    expect(told(await steps.deliver(reserveEmail, 's2d', 'run', other))).toBe('done');
    // Too late: neither step nor undo of the loser touches what is another's now.
    expect(told(await steps.deliver(reserveEmail, 's2a', 'run', input))).toBe('undone');
    expect(told(await steps.deliver(reserveEmail, 's2a', 'undo', input))).toBe('undone');
    expect(await steps.stateOf(emails[1])).toBe('reserved');
  });

  test('an undo that comes first keeps the late step out', async () => {
    const { userId, emails } = steps.newParty();
    const input = { userId, email: emails[2].normalized, purpose: 'register' as const };
    expect(told(await steps.deliver(reserveEmail, 's3', 'undo', input))).toBe('undone');
    expect(told(await steps.deliver(reserveEmail, 's3', 'run', input))).toBe('undone');
    expect(await steps.stateOf(emails[2])).toBe('free');
  });

  test('saga ids that differ in case only are two', async () => {
    const { userId, emails } = steps.newParty();
    const input = { userId, email: emails[2].normalized, purpose: 'register' as const };
    await steps.deliver(reserveEmail, 'Case', 'run', input);
    expect(told(await steps.deliver(reserveEmail, 'case', 'run', input))).toBe(
      'refused email-taken',
    );
  });

  test('with an id in use is refused', async () => {
    const { userId } = await steps.registered();
    const { emails } = steps.newParty();
    const create = { userId, email: emails[0], createdAt: CREATED_AT };
    expect(told(await steps.deliver(createUser, 's4', 'run', create))).toBe(
      'refused user-conflict',
    );
  });
});

describe('change of email', () => {
  test('an unknown user is refused, and the reservation taken back', async () => {
    const party = steps.newParty();
    const saga = steps.changing('c0', party, party.emails[1]);
    expect(await saga.reserve()).toBe('done');
    expect(await saga.update()).toBe('refused user-not-found');
    expect(await saga.sealUpdate()).toBe('sealed');
    expect(await saga.undoReserve()).toBe('undone');
    expect(await steps.stateOf(party.emails[1])).toBe('released');
  });

  test('to an email of somebody else is refused for good', async () => {
    const [party, other] = [await steps.registered(), await steps.registered()];
    expect(await steps.changing('c1', party, other.emails[0]).reserve()).toBe(
      'refused email-taken',
    );
  });

  test('a second saga may take the email away before the first has confirmed it', async () => {
    const party = await steps.registered();
    const [e0, e1, e2] = party.emails;
    const a = steps.changing('a1', party, e1);
    const b = steps.changing('b1', party, e2);
    expect([await a.reserve(), await a.update()]).toEqual(['done', 'done']);
    await steps.expectSound(party);
    expect([await b.reserve(), await b.update()]).toEqual(['done', 'done']);
    await steps.expectSound(party);
    // B frees what A still has reserved: the user's row has it no more.
    expect([await b.confirm(), await b.release()]).toEqual(['done', 'done']);
    expect(await steps.statesOf(party)).toEqual(['confirmed', 'released', 'confirmed']);
    const other = steps.newParty();
    const taker = { userId: other.userId, email: e1.normalized, purpose: 'register' as const };
    expect(told(await steps.deliver(reserveEmail, 'taker1', 'run', taker))).toBe('done');
    // A's late steps find nothing of A, and leave the new holder alone.
    expect([await a.confirm(), await a.release()]).toEqual(['done', 'done']);
    expect(await steps.statesOf(party)).toEqual(['released', 'reserved', 'confirmed']);
    expect(await steps.emailOf(party)).toBe(e2.address);
    expect(await steps.stateOf(e0)).toBe('released');
    await steps.expectSound(party);
  });

  test('back to an email that is not free again yet is refused, then works', async () => {
    const party = await steps.registered();
    const [e0, e1] = party.emails;
    const a = steps.changing('a2', party, e1);
    expect([await a.reserve(), await a.update()]).toEqual(['done', 'done']);
    const back = steps.changing('b2', party, e0);
    expect(await back.reserve()).toBe('done held');
    expect(await back.update()).toBe('refused conflict');
    expect([await back.sealUpdate(), await back.undoReserve()]).toEqual(['sealed', 'undone']);
    expect([await a.confirm(), await a.release()]).toEqual(['done', 'done']);
    expect(await steps.statesOf(party)).toEqual(['released', 'confirmed', 'free']);
    const again = steps.changing('b2x', party, e0);
    expect([await again.reserve(), await again.update()]).toEqual(['done', 'done']);
    // Delivered again, the release of the first saga frees nothing: it was done once.
    expect(await a.release()).toBe('done');
    expect([await again.confirm(), await again.release()]).toEqual(['done', 'done']);
    expect(await steps.statesOf(party)).toEqual(['confirmed', 'released', 'free']);
    await steps.expectSound(party);
  });

  test('a look that found the email held is worth nothing once the row has another one', async () => {
    const party = await steps.registered();
    const [e0, e1] = party.emails;
    const same = steps.changing('b3', party, e0);
    expect(await same.reserve()).toBe('done held');
    const a = steps.changing('a3', party, e1);
    for (const step of [a.reserve, a.update, a.confirm, a.release])
      expect(await step()).toBe('done');
    // Somebody else has the email by now.
    const other = steps.newParty();
    const taker = { userId: other.userId, email: e0.normalized, purpose: 'register' as const };
    expect(told(await steps.deliver(reserveEmail, 'taker3', 'run', taker))).toBe('done');
    expect(await same.update()).toBe('refused conflict');
    expect(await same.undoReserve()).toBe('undone');
    expect(await steps.statesOf(party)).toEqual(['reserved', 'confirmed', 'free']);
    expect(await steps.emailOf(party)).toBe(e1.address);
  });

  test('two sagas of a user to one email: the second waits, then finds it held', async () => {
    const party = await steps.registered();
    const [, e1] = party.emails;
    const a = steps.changing('a4', party, e1);
    const b = steps.changing('b4', party, {
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
    expect(await steps.statesOf(party)).toEqual(['released', 'confirmed', 'free']);
    expect(await steps.emailOf(party)).toBe(e1.address.toUpperCase());
  });

  test('two sagas of a user to one email: the first is taken back, the second goes on', async () => {
    const party = await steps.registered();
    const [, e1] = party.emails;
    const [a, b] = [steps.changing('a5', party, e1), steps.changing('b5', party, e1)];
    expect([await a.reserve(), await b.reserve()]).toEqual(['done', 'failed email-taken']);
    expect([await a.sealUpdate(), await a.undoReserve()]).toEqual(['sealed', 'undone']);
    for (const step of [b.reserve, b.update, b.confirm, b.release])
      expect(await step()).toBe('done');
    expect([await a.update(), await a.undoReserve()]).toEqual(['sealed', 'undone']);
    expect(await steps.statesOf(party)).toEqual(['released', 'confirmed', 'free']);
    await steps.expectSound(party);
  });
});

describe('settling reservations whose saga is gone', () => {
  /** Nothing is left over from the tests before. */
  const settleAll = async (): Promise<void> => {
    for (const email of steps.newParty().emails) await steps.settle(email);
  };

  test('before the pivot: released, and the late pivot is refused', async () => {
    await settleAll();
    const party = await steps.registered();
    const saga = steps.changing('o1', party, party.emails[1]);
    await saga.reserve();
    expect(await steps.settle(party.emails[1], () => 'alive')).toEqual(report({ left: 1 }));
    expect(await steps.settle(party.emails[1])).toEqual(report({ released: 1 }));
    expect(await steps.settle(party.emails[1])).toEqual(report({}));
    expect(await saga.update()).toBe('sealed');
    expect(await saga.undoReserve()).toBe('undone');
    expect(await steps.statesOf(party)).toEqual(['confirmed', 'released', 'free']);
    await steps.expectSound(party);
  });

  test('of a registration: released before, confirmed after the pivot', async () => {
    const party = steps.newParty();
    const { userId, emails } = party;
    const [first, , second] = emails;
    const input = { userId, email: first.normalized, purpose: 'register' as const };
    await steps.deliver(reserveEmail, 'o2a', 'run', input);
    expect(await steps.settle(first)).toEqual(report({ released: 1 }));
    const create = { userId, email: first, createdAt: CREATED_AT };
    expect(told(await steps.deliver(createUser, 'o2a', 'run', create))).toBe('sealed');
    await steps.deliver(reserveEmail, 'o2b', 'run', { ...input, email: second.normalized });
    await steps.deliver(createUser, 'o2b', 'run', { ...create, email: second });
    expect(await steps.settle(second)).toEqual(report({ confirmed: 1 }));
    expect(await steps.stateOf(second)).toBe('confirmed');
    await steps.expectSound(party);
  });

  test('after the pivot: confirmed, even when another saga has taken the email away since', async () => {
    const party = await steps.registered();
    const [, e1, e2] = party.emails;
    const [a, b] = [steps.changing('o3a', party, e1), steps.changing('o3b', party, e2)];
    await a.reserve();
    await a.update();
    await b.reserve();
    await b.update();
    expect(await steps.settle(e1)).toEqual(report({ confirmed: 1 }));
    // Were it free, the user could have it again, and B would then free an email in use.
    const back = steps.changing('o3c', party, e1);
    expect(await back.reserve()).toBe('done held');
    expect(await back.update()).toBe('refused conflict');
    expect([await b.confirm(), await b.release()]).toEqual(['done', 'done']);
    expect(await steps.statesOf(party)).toEqual(['confirmed', 'released', 'confirmed']);
    expect(await a.release()).toBe('done');
    expect(await steps.statesOf(party)).toEqual(['released', 'released', 'confirmed']);
    await steps.expectSound(party);
  });

  test('a shard that must be asked and is away leaves it for later', async () => {
    const party = steps.newParty();
    const email = party.emails[1];
    const input = { userId: party.userId, email: email.normalized, purpose: 'register' as const };
    await steps.deliver(reserveEmail, 'o4', 'run', input);
    await app.databases.stack.stopShard(0);
    expect(await steps.settle(email)).toEqual(report({ left: 1 }));
    await app.databases.stack.startShard(0);
    await expect
      .poll(async () => (await steps.settle(email)).released, { timeout: 20_000, interval: 500 })
      .toBe(1);
  });
});

function report(part: Partial<OrphanReport>): OrphanReport {
  const whole = { confirmed: 0, released: 0, left: 0, ...part };
  return { ...whole, found: whole.confirmed + whole.released + whole.left };
}
