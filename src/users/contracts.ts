import { z } from 'zod';
import { defineCompensatableStep, defineStep } from '../durable/saga/step.ts';
import { parseUserId, type UserId } from '../kernel/ids.ts';
import { parseTimestamp, type Timestamp } from '../kernel/time.ts';
import type { EmailAddress, NormalizedEmail } from './email.ts';

/** Values as they travel in payloads: canonical already, checked and never transformed. */
const userId = z.custom<UserId>(
  (value) => typeof value === 'string' && parseUserId(value) === value,
);
const timestamp = z.custom<Timestamp>((value) => parseTimestamp(value) === value);
const address = z.custom<EmailAddress>((value) => typeof value === 'string' && value !== '');
const normalized = z.custom<NormalizedEmail>((value) => typeof value === 'string' && value !== '');
const email = z.strictObject({ address, normalized });
const user = z.strictObject({ userId, email: address, createdAt: timestamp });

/** What registration fixes once: every repeat of a step writes the same row. */
export const registrationSchema = z.strictObject({ userId, email, createdAt: timestamp });
export type Registration = z.infer<typeof registrationSchema>;

export const emailChangeSchema = z.strictObject({ userId, email });
export type EmailChange = z.infer<typeof emailChangeSchema>;

export const userResultSchema = user;

/**
 * Reserves an email for a user in the directory. `held`: the user has it already, or is just losing it, and nothing was
 * reserved (only for `change`). Refused with `email-taken`; failed with `email-taken` while another saga of the same
 * user is about to have it.
 */
export const reserveEmail = defineCompensatableStep({
  name: 'users-reserve-email',
  input: z.strictObject({ userId, email: normalized, purpose: z.enum(['register', 'change']) }),
  output: z.strictObject({ held: z.boolean() }),
});

/** Writes the user's row. Refused with `user-conflict` when the id is in use. */
export const createUser = defineStep({
  name: 'users-create-user',
  input: registrationSchema,
  output: z.null(),
});

/**
 * Gives the user the reserved email. `old` is what it replaced, null when it was this one before. Refused with
 * `user-not-found`, and with `conflict` when the email was held by a user who is just losing it.
 */
export const updateUser = defineStep({
  name: 'users-update-user',
  input: z.strictObject({ userId, email, held: z.boolean() }),
  output: z.strictObject({ old: normalized.nullable(), user }),
});

/** Confirms what this saga reserved; anything else in the directory's row means that it was settled since. */
export const confirmEmail = defineStep({
  name: 'users-confirm-email',
  input: z.strictObject({ userId, email: normalized }),
  output: z.null(),
});

/** Frees the email that the user's row had until this saga's pivot; nothing when there was none. */
export const releaseOldEmail = defineStep({
  name: 'users-release-old-email',
  input: z.strictObject({ userId, old: normalized.nullable() }),
  output: z.null(),
});
