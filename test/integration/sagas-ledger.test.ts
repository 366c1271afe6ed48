import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { DatabaseError } from '../../src/database/database-error.ts';
import type { StepAnswer, StepVerb } from '../../src/durable/saga/step.ts';
import { PermanentError, RetryableError } from '../../src/kernel/errors.ts';
import { noopProbe } from '../../src/kernel/probe.ts';
import { moveBucketRows, startLedgerWorld, type LedgerWorld } from '../support/ledger-world.ts';
import { createRandom } from '../support/random.ts';

/**
 * The ledger (I3): a step delivered again, late, or beside itself has its effect once or not at all, and its row and its
 * effect never disagree.
 */
const random = createRandom();
const BUCKET = 300;
/** Enough sagas for interleavings to differ, few enough for seconds. */
const ROUNDS = 12;
const DELIVERIES = 32;

let world: LedgerWorld;
let serial = 0;

beforeAll(async () => {
  world = await startLedgerWorld({ SHARD_POOL_SIZE: '40', SAGA_STEP_DEADLINE_MS: '20000' });
});
afterEach(() => {
  world.hook = () => Promise.resolve(undefined);
  world.probe = noopProbe;
});
afterAll(() => world?.stop());

const newId = (): string => `ledger-${(serial += 1)}`;
const INPUT = { bucket: BUCKET, answer: { a: [1, 'ü', null] } };
const deliver = (verb: StepVerb, id: string): Promise<StepAnswer> => world.deliver(verb, id, INPUT);
const rowOf = async (id: string) =>
  (await world.rows('SELECT state, result FROM saga_steps WHERE saga_id = ?', [id]))[0];

describe('one after the other', () => {
  test('a step that is run again answers as before and does nothing', async () => {
    const id = newId();
    expect(await deliver('run', id)).toEqual({
      kind: 'done',
      value: INPUT.answer,
      replayed: false,
    });
    expect(await deliver('run', id)).toEqual({ kind: 'done', value: INPUT.answer, replayed: true });
    expect(await deliver('seal', id)).toMatchObject({ kind: 'done', value: INPUT.answer });
    expect(await world.count(id)).toEqual({ run: 1, undone: 0 });
  });

  test.each([null, '', 0, false, 'a "quoted" \\ text', { deep: { deeper: [] } }, []])(
    'the answer %j is given again as it was',
    async (answer) => {
      const id = newId();
      const first = await world.deliver('run', id, { bucket: BUCKET, answer });
      const again = await world.deliver('run', id, { bucket: BUCKET, answer: 'another' });
      expect([first, again]).toMatchObject([{ value: answer }, { value: answer }]);
    },
  );

  test('an effect is taken back once, and the step never runs again', async () => {
    const id = newId();
    await deliver('run', id);
    expect(await deliver('undo', id)).toEqual({ kind: 'undone' });
    expect(await deliver('undo', id)).toEqual({ kind: 'undone' });
    expect(await deliver('run', id)).toEqual({ kind: 'undone' });
    expect(await deliver('seal', id)).toEqual({ kind: 'undone' });
    expect(await world.count(id)).toEqual({ run: 1, undone: 1 });
  });

  test('a step undone before it ran is refused when it comes late', async () => {
    const id = newId();
    expect(await deliver('undo', id)).toEqual({ kind: 'undone' });
    expect(await deliver('run', id)).toEqual({ kind: 'undone' });
    expect(await world.count(id)).toEqual({ run: 0, undone: 0 });
  });

  test('a sealed step is refused when it comes late', async () => {
    const id = newId();
    expect(await deliver('seal', id)).toEqual({ kind: 'sealed' });
    expect(await deliver('run', id)).toEqual({ kind: 'sealed' });
    expect(await deliver('seal', id)).toEqual({ kind: 'sealed' });
    expect(await deliver('undo', id)).toEqual({ kind: 'undone' });
    expect(await world.count(id)).toEqual({ run: 0, undone: 0 });
  });

  test('an abandoned step keeps its effect and is closed', async () => {
    const id = newId();
    await deliver('run', id);
    expect(await deliver('abandon', id)).toEqual({ kind: 'undone' });
    expect(await deliver('undo', id)).toEqual({ kind: 'undone' });
    expect(await world.count(id)).toEqual({ run: 1, undone: 0 });
  });

  test('every delivery refreshes the time by which the row is kept', async () => {
    const id = newId();
    await deliver('run', id);
    const old = "UPDATE saga_steps SET updated_at = '2020-01-01' WHERE saga_id = ?";
    await world.services.database.onShard(0 as never, (shard) => shard.execute(old, [id]), {
      deadlineMs: 5_000,
    });
    await deliver('undo', id);
    const [row] = await world.rows('SELECT updated_at FROM saga_steps WHERE saga_id = ?', [id]);
    expect(String(row?.['updated_at']) > '2021').toBe(true);
  });
});

describe('failures leave nothing, or everything', () => {
  test('a refusal leaves no row: the step may run later', async () => {
    const id = newId();
    world.hook = () => Promise.reject(new PermanentError('email-taken', 'Taken.'));
    expect(await deliver('run', id)).toEqual({
      kind: 'refused',
      error: { code: 'email-taken', message: 'Taken.' },
    });
    expect(await rowOf(id)).toBeUndefined();
    world.hook = () => Promise.resolve(undefined);
    expect(await deliver('run', id)).toMatchObject({ kind: 'done', replayed: false });
  });

  test('a fence found closed on the way leaves no row behind', async () => {
    const id = newId();
    let refusals = 0;
    world.hook = () => {
      refusals += 1;
      return Promise.resolve(
        refusals <= 2 ? { kind: 'refused', state: 'fenced', movedTo: null } : undefined,
      );
    };
    expect(await deliver('run', id)).toMatchObject({ kind: 'done', replayed: false });
    expect(refusals).toBe(3);
    expect(await world.count(id)).toEqual({ run: 1, undone: 0 });
  });

  test('a crash before the commit undoes both, one after it neither', async () => {
    const id = newId();
    const failOnceAt = (point: string): void => {
      let failed = false;
      world.probe = {
        reach: (at) => {
          if (at !== point || failed) return;
          failed = true;
          throw new RetryableError('shard-unavailable', 'A fault.');
        },
      };
    };
    failOnceAt('sagas.beforeCommit');
    expect(await deliver('run', id)).toMatchObject({ kind: 'failed' });
    expect([await rowOf(id), await world.count(id)]).toEqual([undefined, { run: 0, undone: 0 }]);
    failOnceAt('sagas.afterCommit');
    expect(await deliver('run', id)).toMatchObject({ kind: 'failed' });
    expect(await deliver('run', id)).toMatchObject({ kind: 'done', replayed: true });
    failOnceAt('sagas.beforeCommit');
    expect(await deliver('undo', id)).toMatchObject({ kind: 'failed' });
    expect(await world.count(id)).toEqual({ run: 1, undone: 0 });
    expect(await deliver('undo', id)).toEqual({ kind: 'undone' });
    expect(await world.count(id)).toEqual({ run: 1, undone: 1 });
  });

  test('a lost answer is met by the try after it', async () => {
    const id = newId();
    let lost = 0;
    world.hook = async (tx, run) => {
      await world.effect(tx, BUCKET, run.sagaId);
      return { kind: 'answered', value: 1 };
    };
    world.probe = {
      reach: (at) => {
        if (at === 'sagas.beforeCommit' && (lost += 1) === 1) throw new DatabaseError('lost');
      },
    };
    expect(await deliver('run', id)).toMatchObject({ kind: 'done', value: 1 });
    expect([lost, (await world.count(id)).run]).toEqual([2, 1]);
  });

  test('a row moves with its bucket', async () => {
    const bucket = 303;
    const id = newId();
    const input = { bucket, answer: 'here' };
    await world.deliver('run', id, input);
    await moveBucketRows(world, { bucket, to: 1, tables: ['saga_steps'] });
    expect(await world.deliver('run', id, input)).toEqual({
      kind: 'done',
      value: 'here',
      replayed: true,
    });
    const late = newId();
    expect(await world.deliver('undo', late, input)).toEqual({ kind: 'undone' });
    expect(await world.rows('SELECT 1 FROM saga_steps WHERE saga_id = ?', [late])).toHaveLength(1);
  });

  test('a fenced bucket is waited for', async () => {
    const bucket = 306;
    const id = newId();
    await world.fence(bucket);
    const running = world.deliver('run', id, { bucket, answer: 1 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect((await world.count(id)).run).toBe(0);
    await world.unfence(bucket);
    expect(await running).toMatchObject({ kind: 'done', replayed: false });
  });
});

describe('at once', () => {
  const storm = async (
    name: string,
    verbOf: (index: number) => StepVerb,
    check: (id: string, answers: readonly StepAnswer[]) => Promise<void>,
  ): Promise<Readonly<Record<string, number>>> => {
    world.retries();
    const startedMs = performance.now();
    for (let round = 0; round < ROUNDS; round++) {
      const id = newId();
      const answers = await Promise.all(
        Array.from({ length: DELIVERIES }, (_, index) => deliver(verbOf(index), id)),
      );
      await check(id, answers);
    }
    const retries = world.retries();
    const ms = Math.round(performance.now() - startedMs);
    console.log(
      `${world.databases.engine}: ${name}: ${ROUNDS} x ${DELIVERIES} deliveries in ${ms} ms, tried again: ${JSON.stringify(retries)} (seed ${random.seed})`,
    );
    return retries;
  };

  /** Row and effect agree, and nobody was told a failure. */
  const expectSound = async (id: string, answers: readonly StepAnswer[]): Promise<void> => {
    const kinds = new Set(answers.map((answer) => answer.kind));
    expect(kinds).not.toContain('failed');
    expect(kinds).not.toContain('refused');
    const { run, undone } = await world.count(id);
    const state = (await rowOf(id))?.['state'];
    const effects: Readonly<Record<string, readonly string[]>> = {
      done: ['1 had, 0 undone'],
      undone: ['0 had, 0 undone', '1 had, 1 undone'],
      sealed: ['0 had, 0 undone'],
    };
    expect(effects[String(state)]).toContain(`${run} had, ${undone} undone`);
    // Whoever is told that it is sealed may rely on it.
    expect(kinds.has('sealed') ? [0] : [0, 1]).toContain(run);
    const fresh = answers.filter((answer) => answer.kind === 'done' && !answer.replayed);
    expect(fresh.length).toBeLessThanOrEqual(1);
  };

  test('32 deliveries of one step have one effect', async () => {
    const retries = await storm(
      'run',
      () => 'run',
      async (id, answers) => {
        await expectSound(id, answers);
        expect(answers.filter((answer) => answer.kind === 'done')).toHaveLength(DELIVERIES);
        expect(answers.filter((answer) => answer.kind === 'done' && !answer.replayed)).toHaveLength(
          1,
        );
        expect(await world.count(id)).toEqual({ run: 1, undone: 0 });
      },
    );
    expect(retries).toEqual({});
  });

  test.each([
    ['run and undo', ['run', 'undo']],
    ['run and seal', ['run', 'seal']],
    ['run, undo and seal', ['run', 'undo', 'seal']],
    ['undo and seal', ['undo', 'seal']],
  ] as const)('%s agree on one state', async (name, verbs) => {
    const pick = (): StepVerb => verbs[random.below(verbs.length)] ?? 'run';
    const retries = await storm(name, pick, expectSound);
    expect(retries).toEqual({});
  });

  test('deliveries whose transactions are rolled back stand in nobody’s way', async () => {
    const retries = await (async () => {
      world.retries();
      for (let round = 0; round < ROUNDS; round++) {
        const id = newId();
        let failures = 0;
        world.probe = {
          reach: (at) => {
            // The first eight that get so far are rolled back while the others wait for their row.
            if (at === 'sagas.beforeCommit' && (failures += 1) <= 8) {
              throw new RetryableError('shard-unavailable', 'A fault.');
            }
          },
        };
        const answers = await Promise.all(
          Array.from({ length: DELIVERIES }, () => deliver('run', id)),
        );
        const failed = answers.filter((answer) => answer.kind === 'failed');
        expect(failed.map((answer) => answer.kind === 'failed' && answer.error.message)).toEqual(
          Array.from({ length: 8 }, () => 'A fault.'),
        );
        expect(answers.filter((answer) => answer.kind === 'done')).toHaveLength(DELIVERIES - 8);
        expect(await world.count(id)).toEqual({ run: 1, undone: 0 });
      }
      return world.retries();
    })();
    console.log(
      `${world.databases.engine}: 8 of ${DELIVERIES} rolled back, ${ROUNDS} rounds, tried again: ${JSON.stringify(retries)}`,
    );
  });
});
