import { z } from 'zod';
import { defineRoute, type Route } from '../http/handler.ts';
import { apiPath } from '../http/paths.ts';
import { idempotencyHeaders } from '../idempotency/keys.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import { userIdSchema } from '../kernel/schemas.ts';
import { startedReply, startedResponse } from '../sagas/started.ts';
import { findUserByEmail, getUser } from './accounts.ts';
import { changeEmail } from './change-email.ts';
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
    'The email is unique over all shards. With an `Idempotency-Key` it is safe to repeat: the same body gets the first answer again. Without one, a repeat is answered `email-taken`.',
  durable: true,
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
    202: startedResponse,
  },
  errors: ['email-taken', 'user-conflict', 'idempotency-conflict'],
  handle: async ({ body, headers, services, durable }) => {
    const registered = await registerUser(services, durable, {
      ...body,
      idempotencyKey: headers['idempotency-key'],
    });
    switch (registered.kind) {
      case 'created': {
        const { user } = registered;
        return { status: 201, body: user, headers: { location: apiPath('users', user.userId) } };
      }
      case 'replayed':
        return { status: 200, body: registered.user, headers: { 'idempotent-replay': 'true' } };
      case 'running':
        return startedReply(registered.sagaId);
      default:
        return assertNever(registered);
    }
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
  durable: true,
  responses: {
    200: { description: 'The user with the new email.', body: userSchema },
    202: startedResponse,
  },
  errors: ['user-not-found', 'email-taken', 'conflict'],
  handle: async ({ params, body, services, durable }) => {
    const changed = await changeEmail(services, durable, { ...params, ...body });
    return changed.kind === 'running'
      ? startedReply(changed.sagaId)
      : { status: 200, body: changed.user };
  },
});

export const usersRoutes: readonly Route[] = [registerRoute, findRoute, getRoute, changeEmailRoute];
