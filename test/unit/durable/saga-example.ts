import { z } from 'zod';
import type { DurableModule } from '../../../src/durable/register.ts';
import { defineSaga } from '../../../src/durable/saga/definition.ts';
import { implementSaga } from '../../../src/durable/saga/run-saga.ts';
import { defineCompensatableStep, defineStep } from '../../../src/durable/saga/step.ts';
import { PermanentError } from '../../../src/kernel/errors.ts';
import { parseUserId, type UserId } from '../../../src/kernel/ids.ts';
import { userIdSchema } from '../../../src/kernel/schemas.ts';
import { implementCompensatableStep, implementStep } from '../../../src/sagas/implement-step.ts';
import type { SagaModule } from '../../../src/sagas/modules.ts';
import { submitSaga } from '../../../src/sagas/submit.ts';
import type { Services } from '../../../src/services.ts';
import { bucketOf } from '../../../src/sharding/hash.ts';

/*
 * The worked example of `docs/sagas.md`: the blocks there are the regions here, word for word. A user gives points of
 * hers to another user, on another shard. The table `points` is made up; everything else is real.
 */

// #region contracts
/** Canonical already: a payload's schema checks and never transforms. */
const userId = z.custom<UserId>(
  (value) => typeof value === 'string' && parseUserId(value) === value,
);
const points = z.int().min(1).max(1_000_000);

export const giftSchema = z.strictObject({ from: userId, to: userId, points });
export const giftResultSchema = z.strictObject({ total: z.int() });

/** Sets points of a user aside. Refused with `conflict` when there are not as many. */
export const holdPoints = defineCompensatableStep({
  name: 'gifts-hold-points',
  input: z.strictObject({ userId, points }),
  output: z.null(),
});

/** Adds points to a user; `total` is what that makes. Refused with `user-not-found`. */
export const addPoints = defineStep({
  name: 'gifts-add-points',
  input: z.strictObject({ userId, points }),
  output: giftResultSchema,
});

/** Takes away for good what was set aside. */
export const spendPoints = defineStep({
  name: 'gifts-spend-points',
  input: z.strictObject({ userId, points }),
  output: z.null(),
});
// #endregion

// #region table
export const sendGift = defineSaga({
  kind: 'send-gift',
  input: giftSchema,
  output: giftResultSchema,
})
  .compensatable('hold-points', holdPoints, ({ input }) => ({
    userId: input.from,
    points: input.points,
  }))
  .pivot('add-points', addPoints, ({ input }) => ({ userId: input.to, points: input.points }))
  .retriable('spend-points', spendPoints, ({ input }) => ({
    userId: input.from,
    points: input.points,
  }))
  .returns(({ results }) => results['add-points']);
// #endregion

// #region steps
const HOLD =
  'UPDATE points SET free = free - ?, held = held + ? WHERE bucket = ? AND user_id = ? AND free >= ?';
const RELEASE =
  'UPDATE points SET free = free + ?, held = held - ? WHERE bucket = ? AND user_id = ?';
const ADD = 'UPDATE points SET free = LAST_INSERT_ID(free + ?) WHERE bucket = ? AND user_id = ?';
const SPEND = 'UPDATE points SET held = held - ? WHERE bucket = ? AND user_id = ?';

const giftSteps = [
  implementCompensatableStep(holdPoints, {
    bucket: (input) => bucketOf(input.userId),
    run: async (tx, input) => {
      const amount = input.points;
      const values = [amount, amount, bucketOf(input.userId), input.userId, amount];
      const { affectedRows } = await tx.execute(HOLD, values);
      if (affectedRows === 0) throw new PermanentError('conflict', 'There are not as many points.');
      return { kind: 'answered', value: null };
    },
    undo: async (tx, input) => {
      const amount = input.points;
      await tx.execute(RELEASE, [amount, amount, bucketOf(input.userId), input.userId]);
    },
  }),
  implementStep(addPoints, {
    bucket: (input) => bucketOf(input.userId),
    run: async (tx, input) => {
      const values = [input.points, bucketOf(input.userId), input.userId];
      const { affectedRows, insertId } = await tx.execute(ADD, values);
      if (affectedRows === 0) throw new PermanentError('user-not-found', 'There is no such user.');
      return { kind: 'answered', value: { total: insertId } };
    },
  }),
  implementStep(spendPoints, {
    bucket: (input) => bucketOf(input.userId),
    run: async (tx, input) => {
      await tx.execute(SPEND, [input.points, bucketOf(input.userId), input.userId]);
      return { kind: 'answered', value: null };
    },
  }),
];
// #endregion

// #region module
const giftMessage = z.strictObject({ from: userIdSchema, to: userIdSchema, points });

export const giftsSagaModule: SagaModule = {
  definition: sendGift,
  local: undefined,
  message: giftMessage,
  submit: async (services, client, { sagaId, message }) => {
    // Checked by the schema above.
    const input = message as z.infer<typeof giftMessage>;
    await submitSaga(services, client, {
      saga: sendGift,
      sagaId,
      input,
      identified: true,
      waitMs: 0,
    });
  },
};

export const giftsDurable: DurableModule<Services> = {
  contracts: [
    ...[holdPoints, addPoints, spendPoints].map((step) => step.activity),
    sendGift.orchestration,
  ],
  activities: giftSteps,
  orchestrations: [implementSaga(sendGift)],
};
// #endregion
