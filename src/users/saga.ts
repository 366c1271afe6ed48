import { defineSaga } from '../durable/saga/definition.ts';
import {
  confirmEmail,
  createUser,
  emailChangeSchema,
  registrationSchema,
  releaseOldEmail,
  reserveEmail,
  updateUser,
  userResultSchema,
} from './contracts.ts';

/** Registers a user whose bucket and whose email's bucket lie on two shards (ADR 0012). */
export const registerUserSaga = defineSaga({
  kind: 'register-user',
  input: registrationSchema,
  output: userResultSchema,
})
  .compensatable('reserve-email', reserveEmail, ({ input }) => ({
    userId: input.userId,
    email: input.email.normalized,
    purpose: 'register' as const,
  }))
  .pivot('create-user', createUser, ({ input }) => input)
  .retriable('confirm-email', confirmEmail, ({ input }) => ({
    userId: input.userId,
    email: input.email.normalized,
  }))
  .returns(({ input }) => ({
    userId: input.userId,
    email: input.email.address,
    createdAt: input.createdAt,
  }));

/**
 * Changes a user's email: at every moment the directory holds the email of the user's row for that user, since the new
 * one is taken before the row changes and the old one is freed afterwards (`directory.ts` has the whole argument).
 */
export const changeEmailSaga = defineSaga({
  kind: 'change-email',
  input: emailChangeSchema,
  output: userResultSchema,
})
  .compensatable('reserve-email', reserveEmail, ({ input }) => ({
    userId: input.userId,
    email: input.email.normalized,
    purpose: 'change' as const,
  }))
  .pivot('update-user', updateUser, ({ input, results }) => ({
    ...input,
    held: results['reserve-email'].held,
  }))
  .retriable('confirm-email', confirmEmail, ({ input }) => ({
    userId: input.userId,
    email: input.email.normalized,
  }))
  .retriable('release-old-email', releaseOldEmail, ({ input, results }) => ({
    userId: input.userId,
    old: results['update-user'].old,
  }))
  .returns(({ results }) => results['update-user'].user);
