import { z } from 'zod';
import { defineRoute, type Route } from '../http/handler.ts';
import { apiPath } from '../http/paths.ts';
import { idempotencyHeaders } from '../idempotency/keys.ts';
import { idText, orderIdSchema, userIdSchema, wholeNumberText } from '../kernel/schemas.ts';
import { startedResponse } from '../sagas/started.ts';
import {
  DEFAULT_PAGE_SIZE,
  MAX_PAGE_SIZE,
  orderSchema,
  placeOrderSchema,
  transferOrderSchema,
} from './model.ts';
import { placeOrder } from './place-order.ts';
import { getOrder, listOrders } from './queries.ts';
import { transferOrder } from './transfer-order.ts';

const placeOrderRoute = defineRoute({
  name: 'orders-place',
  method: 'POST',
  route: 'users/{userId}/orders',
  auth: 'function',
  tag: 'Orders',
  summary: 'Place an order',
  description:
    'Safe to repeat with an `orderId` or an `Idempotency-Key`: the same content gets the first answer again, other content is refused. Keys are each user’s own.',
  params: z.object({ userId: userIdSchema }),
  headers: idempotencyHeaders,
  body: placeOrderSchema,
  responses: {
    201: {
      description: 'The order was placed.',
      body: orderSchema,
      headers: { Location: 'Address of the order.' },
    },
    200: {
      description: 'The order was there already, with the same content.',
      body: orderSchema,
      headers: { 'Idempotent-Replay': '`true`' },
    },
  },
  errors: ['user-not-found', 'order-conflict', 'idempotency-conflict'],
  handle: async ({ params, body, headers, services }) => {
    const { kind, order } = await placeOrder(services, {
      userId: params.userId,
      ...body,
      idempotencyKey: headers['idempotency-key'],
    });
    if (kind === 'replayed') {
      return { status: 200, body: order, headers: { 'idempotent-replay': 'true' } };
    }
    const location = apiPath('users', order.userId, 'orders', order.orderId);
    return { status: 201, body: order, headers: { location } };
  },
});

const listOrdersRoute = defineRoute({
  name: 'orders-list',
  method: 'GET',
  route: 'users/{userId}/orders',
  auth: 'function',
  tag: 'Orders',
  summary: 'List a user’s orders, newest first',
  params: z.object({ userId: userIdSchema }),
  query: z.strictObject({
    limit: wholeNumberText({ min: 1, max: MAX_PAGE_SIZE })
      .default(DEFAULT_PAGE_SIZE)
      .meta({ description: `Default ${DEFAULT_PAGE_SIZE}.` }),
    cursor: z.string().optional().meta({ description: '`nextCursor` of the page before.' }),
  }),
  responses: {
    200: {
      description: 'A page of orders.',
      body: z
        .object({ orders: z.array(orderSchema), nextCursor: z.string().nullable() })
        .meta({ id: 'OrderPage' }),
    },
  },
  errors: ['user-not-found'],
  handle: async ({ params, query, services }) => ({
    status: 200,
    body: await listOrders(services, { ...params, limit: query.limit, cursor: query.cursor }),
  }),
});

const getOrderRoute = defineRoute({
  name: 'orders-get',
  method: 'GET',
  route: 'users/{userId}/orders/{orderId}',
  auth: 'function',
  tag: 'Orders',
  summary: 'Get one order',
  params: z.object({ userId: userIdSchema, orderId: orderIdSchema }),
  responses: { 200: { description: 'The order.', body: orderSchema } },
  errors: ['user-not-found', 'order-not-found'],
  handle: async ({ params, services }) => ({
    status: 200,
    body: await getOrder(services, params),
  }),
});

const transferRoute = defineRoute({
  name: 'orders-transfer',
  method: 'POST',
  route: 'orders/{orderId}/transfer',
  auth: 'function',
  tag: 'Orders',
  summary: 'Give an order to another user',
  description:
    'The order keeps its id, amount and time, and is never seen at both users. With an `Idempotency-Key` it is safe to repeat: the same request gets the first answer again.',
  durable: true,
  params: z.object({ orderId: orderIdSchema }),
  headers: idempotencyHeaders,
  body: transferOrderSchema,
  responses: {
    200: {
      description: 'The order was transferred.',
      body: z
        .object({
          sagaId: z.string(),
          status: z.literal('completed'),
          orderId: idText,
          fromUserId: idText,
          toUserId: idText,
          order: orderSchema,
        })
        .meta({ id: 'OrderTransferred' }),
      headers: { 'Idempotent-Replay': '`true` when an earlier request had the key.' },
    },
    202: {
      ...startedResponse,
      body: z
        .object({ sagaId: z.string(), statusUrl: z.string(), status: z.literal('running') })
        .meta({ id: 'OrderTransferStarted' }),
    },
  },
  errors: ['user-not-found', 'order-not-found', 'order-conflict', 'idempotency-conflict'],
  handle: async ({ params, body, headers, services, durable }) => {
    const transfer = { orderId: params.orderId, ...body };
    const idempotencyKey = headers['idempotency-key'];
    const result = await transferOrder(services, durable, { transfer, idempotencyKey });
    const { sagaId } = result;
    if (result.kind === 'running') {
      const statusUrl = apiPath('sagas', sagaId);
      const started = { sagaId, statusUrl, status: 'running' };
      return { status: 202, body: started, headers: { location: statusUrl } };
    }
    return {
      status: 200,
      body: { sagaId, status: 'completed', ...transfer, order: result.order },
      headers: result.replayed ? { 'idempotent-replay': 'true' } : {},
    };
  },
});

export const ordersRoutes: readonly Route[] = [
  placeOrderRoute,
  listOrdersRoute,
  getOrderRoute,
  transferRoute,
];
