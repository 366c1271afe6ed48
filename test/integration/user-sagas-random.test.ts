import { afterAll, beforeAll, expect, test } from 'vitest';
import { assertNever } from '../../src/kernel/exhaustive.ts';
import type { Email } from '../../src/users/email.ts';
import { createRandom, type Random } from '../support/random.ts';
import { startSliceApp, type SliceApp } from '../support/slice-app.ts';
import { UserSteps, type Changing, type Party } from '../support/user-steps.ts';

/**
 * Several change-email sagas of two users over the same few emails, one delivery at a time in a random order, with
 * givings-up, duplicates, sagas that die and the settler: after each delivery the email of each user's row must be held
 * for that user, and in the end nothing else may be held.
 */
const RUNS = 30;
const SAGAS = 5;
const MOST_MOVES = 300;

let app: SliceApp;
let steps: UserSteps;
beforeAll(async () => {
  app = await startSliceApp();
  await app.services.database.prewarm();
  steps = new UserSteps(app);
});
afterAll(() => app.stop());

type Phase =
  'reserve' | 'update' | 'seal' | 'undo' | 'confirm' | 'release' | 'completed' | 'undone';

interface Saga {
  readonly id: string;
  readonly does: Changing;
  phase: Phase;
  isDead: boolean;
  /** What was delivered, for late duplicates. */
  readonly past: (() => Promise<string>)[];
}

const isOver = ({ phase }: Saga): boolean => phase === 'completed' || phase === 'undone';

/** One delivery, as the runner would make it, and what it does next. */
async function advance(saga: Saga): Promise<void> {
  const { does } = saga;
  const deliver = async (step: () => Promise<string>): Promise<string> => {
    saga.past.push(step);
    return await step();
  };
  switch (saga.phase) {
    case 'reserve': {
      const answer = await deliver(does.reserve);
      if (answer.startsWith('done')) saga.phase = 'update';
      else if (!answer.startsWith('failed')) saga.phase = 'undo';
      return;
    }
    case 'update':
      saga.phase = (await deliver(does.update)) === 'done' ? 'confirm' : 'seal';
      return;
    case 'seal':
      saga.phase = (await deliver(does.sealUpdate)) === 'done' ? 'confirm' : 'undo';
      return;
    case 'undo':
      expect(await deliver(does.undoReserve)).toBe('undone');
      saga.phase = 'undone';
      return;
    case 'confirm':
      expect(await deliver(does.confirm)).toBe('done');
      saga.phase = 'release';
      return;
    case 'release':
      expect(await deliver(does.release)).toBe('done');
      saga.phase = 'completed';
      return;
    case 'completed':
    case 'undone':
      return;
    default:
      assertNever(saga.phase);
  }
}

function giveUp(saga: Saga): void {
  if (saga.phase === 'reserve') saga.phase = 'undo';
  else if (saga.phase === 'update') saga.phase = 'seal';
}

/** A lost orchestration begins again at the pivot's seal. */
function recover(saga: Saga): void {
  saga.isDead = false;
  if (saga.phase === 'reserve' || saga.phase === 'update') saga.phase = 'seal';
}

function pick<T>(random: Random, items: readonly T[]): T {
  return items[random.below(items.length)] as T;
}

async function disturb(random: Random, saga: Saga, sagas: readonly Saga[]): Promise<void> {
  const kind = random.next();
  if (kind < 0.3) giveUp(saga);
  else if (kind < 0.45) saga.isDead = true;
  else if (kind < 0.85) await deliverAgain(random, sagas);
  else await settle(random, sagas);
}

/** Anything that was delivered once, of any saga, also one that is over. */
async function deliverAgain(random: Random, sagas: readonly Saga[]): Promise<void> {
  const past = sagas.flatMap((saga) => saga.past);
  if (past.length > 0) await pick(random, past)();
}

async function settle(random: Random, sagas: readonly Saga[]): Promise<void> {
  const dead = new Set(sagas.filter((saga) => saga.isDead || isOver(saga)).map(({ id }) => id));
  const email = pick(random, everyShard);
  await steps.settle(email, (id) => (dead.has(id) ? 'unknown' : 'alive'));
}

/** An email on each shard. */
let everyShard: readonly Email[] = [];

async function expectAllSound(parties: readonly Party[]): Promise<void> {
  for (const party of parties) await steps.expectSound(party);
}

async function oneRun(random: Random, run: number): Promise<readonly Saga[]> {
  const parties = [await steps.registered(), await steps.registered()];
  const [first, second] = parties as [Party, Party];
  everyShard = first.emails;
  const emails = [...first.emails, second.emails[0], second.emails[1]];
  const sagas: Saga[] = Array.from({ length: SAGAS }, (_, index) => {
    const id = `random-${run}-${index}`;
    const does = steps.changing(id, random.next() < 0.7 ? first : second, pick(random, emails));
    return { id, does, phase: 'reserve', isDead: false, past: [] };
  });
  for (let move = 0; move < MOST_MOVES; move += 1) {
    const open = sagas.filter((saga) => !isOver(saga));
    if (open.length === 0) break;
    const saga = pick(random, open);
    if (move > 60 && saga.isDead) recover(saga);
    if (random.next() < 0.3) await disturb(random, saga, sagas);
    else if (!saga.isDead) await advance(saga);
    await expectAllSound(parties);
  }
  expect(sagas.filter((saga) => !isOver(saga))).toEqual([]);
  for (const email of everyShard) await steps.settle(email);
  await expectAllSound(parties);
  const kept = await Promise.all(parties.map((party) => steps.emailOf(party)));
  for (const email of [...first.emails, ...second.emails]) {
    const state = await steps.stateOf(email);
    const isKept = kept.includes(email.address);
    expect([email.address, state === 'free' ? 'released' : state]).toEqual([
      email.address,
      isKept ? 'confirmed' : 'released',
    ]);
  }
  return sagas;
}

test('whatever the order, each user has one email, held for that user alone', async () => {
  const random = createRandom();
  console.log(`seed ${random.seed}`);
  const ends = { completed: 0, undone: 0 };
  for (let run = 0; run < RUNS; run += 1) {
    for (const { phase } of await oneRun(random, run)) {
      if (phase === 'completed' || phase === 'undone') ends[phase] += 1;
    }
  }
  console.log(`${RUNS} runs of ${SAGAS} sagas:`, ends);
  expect(ends.completed).toBeGreaterThan(RUNS / 2);
  expect(ends.undone).toBeGreaterThan(RUNS / 2);
});
