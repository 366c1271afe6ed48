import { z } from 'zod';
import { defineRoute, type Route } from '../http/handler.ts';
import { apiPath } from '../http/paths.ts';
import { idempotencyHeaders } from '../idempotency/keys.ts';
import { orderIdSchema, userIdSchema, wholeNumberText } from '../kernel/schemas.ts';
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, orderSchema, placeOrderSchema } from './model.ts';
import { placeOrder } from './place-order.ts';
import { getOrder, listOrders } from './queries.ts';

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

export const ordersRoutes: readonly Route[] = [placeOrderRoute, listOrdersRoute, getOrderRoute];
