import { z } from 'zod';
import type { UserId } from '../kernel/ids.ts';
import { idText, timestampText, userIdSchema, valueSchema } from '../kernel/schemas.ts';
import type { Timestamp } from '../kernel/time.ts';
import { parseEmail, type Email, type EmailAddress } from './email.ts';

export interface User {
  readonly userId: UserId;
  readonly email: EmailAddress;
  readonly createdAt: Timestamp;
}

export const emailSchema: z.ZodType<Email> = valueSchema({
  parse: parseEmail,
  expected:
    'an email local@domain of at most 254 characters (64 before the @), without spaces, control or invisible characters,',
  schema: {
    type: 'string',
    maxLength: 254,
    description:
      'Surrounding white space is dropped. Then `local@domain`: a local part of 1 to 64 visible characters other than `@`, a domain of at least two labels of letters, digits and inner hyphens (other scripts as they are, or in punycode), at most 254 characters in all; nothing invisible. Shown as given, compared in Unicode NFC and lower case.',
  },
});

export const registerUserSchema = z
  .strictObject({ email: emailSchema, userId: userIdSchema.optional() })
  .meta({ id: 'RegisterUser' });

export const changeEmailSchema = z.strictObject({ email: emailSchema }).meta({ id: 'ChangeEmail' });

/** A user in a response. */
export const userSchema = z
  .object({ userId: idText, email: z.string(), createdAt: timestampText })
  .meta({ id: 'User' });
