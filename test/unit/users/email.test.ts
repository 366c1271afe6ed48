import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { emailKey, normalizeEmail, parseEmail } from '../../../src/users/email.ts';
import '../../support/seed.ts';

describe('parseEmail', () => {
  test.each([
    ['ada@example.com', 'ada@example.com', 'ada@example.com'],
    [' Ada@Example.COM\t', 'Ada@Example.COM', 'ada@example.com'],
    ['a+tag@sub.example.co', 'a+tag@sub.example.co', 'a+tag@sub.example.co'],
    ["o'brien@example.com", "o'brien@example.com", "o'brien@example.com"],
    ["robert'--drop;@example.com", "robert'--drop;@example.com", "robert'--drop;@example.com"],
    ['naïve.😀@example.com', 'naïve.😀@example.com', 'naïve.😀@example.com'],
    ['user@bücher.example', 'user@bücher.example', 'user@bücher.example'],
    ['user@xn--bcher-kva.example', 'user@xn--bcher-kva.example', 'user@xn--bcher-kva.example'],
    // e + combining accent is shown as it came, compared composed.
    ['Re\u0301ne@example.com', 'Re\u0301ne@example.com', 'r\u00e9ne@example.com'],
    [`${'a'.repeat(64)}@${'b'.repeat(63)}.com`, undefined, undefined],
  ])('%j is accepted', (given, address, normalized) => {
    const email = parseEmail(given);
    expect(email).toEqual({
      address: address ?? given,
      normalized: normalized ?? given,
    });
  });

  test.each([
    '',
    ' ',
    'nobody',
    '@example.com',
    'a@',
    'a@b',
    'a@b.',
    'a@.com',
    'a@b..com',
    'a@-b.com',
    'a@b-.com',
    'a@exa_mple.com',
    'a@b@example.com',
    'a b@example.com',
    'a\u00a0b@example.com',
    'a@exa mple.com',
    'a\u0000@example.com',
    'a\u0007@example.com',
    'a\nb@example.com',
    'a\u200b@example.com',
    'a\u202e@example.com',
    'a\ud800@example.com',
    'a@example.\udfff',
    `${'a'.repeat(65)}@example.com`,
    `a@${'b'.repeat(64)}.com`,
    `a@${'b.'.repeat(126)}com`,
    'x'.repeat(1_000_000),
  ])('%j is refused', (given) => {
    expect(parseEmail(given)).toBeUndefined();
  });

  test.each([null, undefined, 1, {}, ['a@example.com']])('%j is refused', (given) => {
    expect(parseEmail(given)).toBeUndefined();
  });

  test('exactly 254 characters are accepted, also of 4 bytes each', () => {
    const domain = `${'d'.repeat(63)}.`.repeat(2) + 'd'.repeat(61);
    const address = `${'😀'.repeat(64)}@${domain}`;
    expect(Array.from(address)).toHaveLength(64 + 1 + 189);
    expect(parseEmail(address)?.address).toBe(address);
    expect(parseEmail(`${address}d`)).toBeUndefined();
  });

  test('lower case may be longer, and then counts', () => {
    // U+0130 becomes two code points.
    expect(parseEmail(`${'\u0130'.repeat(32)}@example.com`)).toBeDefined();
    expect(parseEmail(`${'\u0130'.repeat(33)}@example.com`)).toBeUndefined();
  });
});

describe('normalizeEmail', () => {
  const letter = fc.oneof(
    fc.integer({ min: 0x20, max: 0xd7ff }),
    fc.integer({ min: 0x1_0000, max: 0x1_ffff }),
    fc.constantFrom(0x130, 0x131, 0x345, 0x3a3, 0x3c2, 0x1e9e, 0x212b, 0x2126, 0x301, 0x307),
  );
  const text = fc.array(letter, { maxLength: 20 }).map((codes) => String.fromCodePoint(...codes));

  test('is idempotent for any text', () => {
    fc.assert(
      fc.property(text, (given) => {
        const once = normalizeEmail(given);
        expect(normalizeEmail(once)).toBe(once);
      }),
      { numRuns: 2_000 },
    );
  });

  test('is idempotent for every single character and with a mark behind it', () => {
    const exceptions: number[] = [];
    // All letters with case are in the first two planes.
    for (let code = 0; code <= 0x1_ffff; code += 1) {
      if (code >= 0xd800 && code <= 0xdfff) continue;
      for (const given of [String.fromCodePoint(code), `${String.fromCodePoint(code)}\u0301`]) {
        const once = normalizeEmail(given);
        if (normalizeEmail(once) !== once) exceptions.push(code);
      }
    }
    expect(exceptions).toEqual([]);
  });

  test('case, composition and surrounding space make no difference', () => {
    const local = fc.string({
      unit: fc.constantFrom('a', 'B', 'é', 'Ü', 'ß', '1', '.'),
      minLength: 1,
    });
    fc.assert(
      fc.property(local, (name) => {
        const address = `${name}@example.com`;
        const key = emailKey(normalizeEmail(address));
        for (const variant of [
          ` ${address} `,
          address.toUpperCase().replace('SS', 'ß'),
          address.normalize('NFD'),
        ]) {
          if (variant.toLowerCase().trim().normalize('NFC') !== address.toLowerCase()) continue;
          expect(emailKey(normalizeEmail(variant))).toEqual(key);
        }
        expect(emailKey(normalizeEmail(`x${address}`))).not.toEqual(key);
      }),
    );
  });

  test('keys are 32 bytes of SHA-256', () => {
    expect(emailKey(normalizeEmail('ADA@example.com'))).toBe(
      'b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72',
    );
  });
});
