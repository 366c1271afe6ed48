import { describe, expect, test } from 'vitest';
import { transferMessageSchema, transferOrderSchema } from '../../../src/orders/model.ts';
import { transferOrderSaga } from '../../../src/orders/saga.ts';
import { ordersDurable, ordersSagaModules } from '../../../src/orders/sagas.ts';

const TRANSFER = { orderId: '5', fromUserId: '1', toUserId: '2' };
const CROSSING_OF = { fromBucket: 1, toBucket: 2, departedAtMs: 5 };
const CONTENT = { amountCents: 700, createdAt: '2026-01-01T00:00:00.000Z' };

describe('the table of a transfer', () => {
  test('locks and prepares before it takes the order away', () => {
    expect(transferOrderSaga.steps.map(({ name, role }) => [name, role])).toEqual([
      ['lock-source', 'compensatable'],
      ['insert-pending', 'compensatable'],
      ['remove-source', 'pivot'],
      ['confirm-target', 'retriable'],
    ]);
  });

  test('gives each step what it takes, and answers the order at its new user', () => {
    const crossing = { ...CONTENT, ...CROSSING_OF };
    const results = {
      'lock-source': CONTENT,
      'insert-pending': { former: null },
      'remove-source': crossing,
    };
    const soFar = { sagaId: 's', input: TRANSFER, results };
    for (const { contract, inputOf } of transferOrderSaga.steps) {
      expect(contract.input.safeParse(inputOf(soFar)).success).toBe(true);
    }
    expect(transferOrderSaga.steps[1]?.inputOf(soFar)).toEqual({ ...TRANSFER, ...CONTENT });
    expect(transferOrderSaga.steps[3]?.inputOf(soFar)).toEqual({ ...TRANSFER, crossing });
    expect(transferOrderSaga.outputOf(soFar)).toEqual({ orderId: '5', userId: '2', ...CONTENT });
  });

  test('has code for every contract', () => {
    const implemented = [
      ...ordersDurable.activities.map(({ contract }) => contract.name),
      ...ordersDurable.orchestrations.map(({ contract }) => contract.name),
    ];
    expect(implemented.toSorted()).toEqual(
      ordersDurable.contracts.map(({ name }) => name).toSorted(),
    );
  });
});

describe('what a transfer is asked with', () => {
  const [module] = ordersSagaModules;

  test('a message names order and users; ids may be numbers', () => {
    expect(module?.message).toBe(transferMessageSchema);
    expect(transferMessageSchema.parse({ orderId: 5, fromUserId: 1, toUserId: '2' })).toEqual(
      TRANSFER,
    );
  });

  test.each([
    { ...TRANSFER, toUserId: 1 },
    { ...TRANSFER, orderId: '0' },
    { ...TRANSFER, amountCents: 1 },
    { orderId: '5', fromUserId: '1' },
  ])('%j is refused', (message) => {
    expect(transferMessageSchema.safeParse(message).success).toBe(false);
  });

  test('a user cannot give an order to themselves', () => {
    const parsed = transferOrderSchema.safeParse({ fromUserId: '7', toUserId: 7 });
    expect(parsed.error?.issues).toMatchObject([{ path: ['toUserId'] }]);
  });
});
