import { hash } from 'node:crypto';
import type { Brand } from '../kernel/brand.ts';

/** An email as given, trimmed: what the user is shown. */
export type EmailAddress = Brand<string, 'EmailAddress'>;
/** The form by which emails are compared: trimmed, NFC, lower case. */
export type NormalizedEmail = Brand<string, 'NormalizedEmail'>;

export interface Email {
  readonly address: EmailAddress;
  readonly normalized: NormalizedEmail;
}

/** RFC 5321 4.5.3.1: 64 for the local part; 254 for the whole follows from its path limit (RFC 3696 erratum 1690). */
const MAX_LENGTH = 254;
const MAX_LOCAL_LENGTH = 64;

/** Controls, white space, formats (zero width, direction marks) and lone surrogates: nothing a reader could see. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Z}]/u;
/** One label of a host name: letters, digits and inner hyphens; other scripts as they are (RFC 5890 U-labels). */
const LABEL =
  /^[A-Za-z0-9\u0080-\u{10FFFF}](?:[A-Za-z0-9\-\u0080-\u{10FFFF}]{0,61}[A-Za-z0-9\u0080-\u{10FFFF}])?$/u;

/**
 * Reads an email: surrounding white space is dropped, then exactly `local@domain` is accepted. The local part is any
 * 1 … 64 visible characters but `@` (a mail system decides what it means, RFC 5321 2.3.11); the domain is at least two
 * labels. `undefined` for anything else. Lengths are counted in code points. Whether the mailbox exists is not our business.
 */
export function parseEmail(value: unknown): Email | undefined {
  if (typeof value !== 'string' || value.length > 4 * MAX_LENGTH) return undefined;
  const address = value.trim();
  const normalized = normalizeEmail(address);
  // Both forms are stored or hashed, and lower case can be longer (U+0130).
  return isAddress(address) && isAddress(normalized)
    ? { address: address as EmailAddress, normalized }
    : undefined;
}

/** Lower-casing can leave text that is not NFC, hence once more after it; applying it twice changes nothing. */
export function normalizeEmail(text: string): NormalizedEmail {
  return text.trim().normalize('NFC').toLowerCase().normalize('NFC') as NormalizedEmail;
}

/** What emails are compared by in the database, as hex: 32 bytes there, no collation involved. */
export function emailKey(email: NormalizedEmail): string {
  return hash('sha256', email, 'hex');
}

function isAddress(text: string): boolean {
  if (codePoints(text) > MAX_LENGTH || INVISIBLE.test(text)) return false;
  const [local = '', domain = '', ...more] = text.split('@');
  if (more.length > 0 || codePoints(local) > MAX_LOCAL_LENGTH) return false;
  const labels = domain.split('.');
  return local !== '' && labels.length >= 2 && labels.every((label) => LABEL.test(label));
}

function codePoints(text: string): number {
  return Array.from(text).length;
}
