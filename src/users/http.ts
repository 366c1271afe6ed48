import { z } from 'zod';
import { defineRoute, type Route } from '../http/handler.ts';
import { apiPath } from '../http/paths.ts';
import { idempotencyHeaders } from '../idempotency/keys.ts';
import { userIdSchema } from '../kernel/schemas.ts';
import { changeEmail, findUserByEmail, getUser } from './accounts.ts';
import { changeEmailSchema, emailSchema, registerUserSchema, userSchema } from './model.ts';
import { registerUser } from './register-user.ts';

const registerRoute = defineRoute({
  name: 'users-register',
  method: 'POST',
  route: 'users',
  auth: 'function',
  tag: 'Users',
  summary: 'Register a user',
  description:
    'With an `Idempotency-Key` it is safe to repeat: the same body gets the first answer again. Without one, a repeat is answered `email-taken`.',
  headers: idempotencyHeaders,
  body: registerUserSchema,
  responses: {
    201: {
      description: 'The user was registered.',
      body: userSchema,
      headers: { Location: 'Address of the user.' },
    },
    200: {
      description: 'The first answer to this idempotency key.',
      body: userSchema,
      headers: { 'Idempotent-Replay': '`true`' },
    },
  },
  errors: ['email-taken', 'user-conflict', 'idempotency-conflict'],
  handle: async ({ body, headers, services }) => {
    const { kind, user } = await registerUser(services, {
      ...body,
      idempotencyKey: headers['idempotency-key'],
    });
    return kind === 'replayed'
      ? { status: 200, body: user, headers: { 'idempotent-replay': 'true' } }
      : { status: 201, body: user, headers: { location: apiPath('users', user.userId) } };
  },
});

const findRoute = defineRoute({
  name: 'users-find',
  method: 'GET',
  route: 'users',
  auth: 'function',
  tag: 'Users',
  summary: 'Find the user of an email',
  query: z.strictObject({ email: emailSchema }),
  responses: { 200: { description: 'The one user with this email.', body: userSchema } },
  errors: ['user-not-found'],
  handle: async ({ query, services }) => ({
    status: 200,
    body: await findUserByEmail(services, query.email),
  }),
});

const getRoute = defineRoute({
  name: 'users-get',
  method: 'GET',
  route: 'users/{userId}',
  auth: 'function',
  tag: 'Users',
  summary: 'Get a user',
  params: z.object({ userId: userIdSchema }),
  responses: { 200: { description: 'The user.', body: userSchema } },
  errors: ['user-not-found'],
  handle: async ({ params, services }) => ({
    status: 200,
    body: await getUser(services, params.userId),
  }),
});

const changeEmailRoute = defineRoute({
  name: 'users-change-email',
  method: 'PUT',
  route: 'users/{userId}/email',
  auth: 'function',
  tag: 'Users',
  summary: 'Change the email of a user',
  params: z.object({ userId: userIdSchema }),
  body: changeEmailSchema,
  responses: { 200: { description: 'The user with the new email.', body: userSchema } },
  errors: ['user-not-found', 'email-taken'],
  handle: async ({ params, body, services }) => ({
    status: 200,
    body: await changeEmail(services, { userId: params.userId, email: body.email }),
  }),
});

export const usersRoutes: readonly Route[] = [registerRoute, findRoute, getRoute, changeEmailRoute];
