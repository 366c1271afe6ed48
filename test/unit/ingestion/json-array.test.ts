import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonArrayBody, ndjsonBody } from '../../../src/ingestion/batch-body.ts';
import { JsonArraySplitter } from '../../../src/ingestion/json-array.ts';
import { PermanentError } from '../../../src/kernel/errors.ts';

/** The elements by the splitter, fed in pieces that end at these offsets; undefined when it refuses. */
function split(text: string, cuts: readonly number[]): unknown[] | undefined {
  const bytes = Buffer.from(text);
  const splitter = new JsonArraySplitter();
  const found: string[] = [];
  let from = 0;
  try {
    for (const cut of [...cuts, bytes.length].sort((a, b) => a - b)) {
      found.push(...splitter.write(bytes.subarray(from, cut)));
      from = Math.max(from, Math.min(cut, bytes.length));
    }
    splitter.end();
  } catch (error) {
    if (error instanceof PermanentError) return undefined;
    throw error;
  }
  expect(found.every((line) => !line.includes('\n'))).toBe(true);
  return found.map((line) => JSON.parse(line) as unknown);
}

/** The elements by `JSON.parse`; undefined when it refuses or finds something else. */
function reference(text: string): unknown[] | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const cuts = fc.array(fc.nat(400), { maxLength: 8 });

describe('a JSON array cut into its elements', () => {
  it('agrees with JSON.parse on every array, however it is printed and cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.jsonValue(), { maxLength: 6 }),
        fc.constantFrom(undefined, 1, '\t', '\r\n'),
        cuts,
        (value, indent, at) => {
          const text = JSON.stringify(value, null, indent);
          expect(split(text, at)).toEqual(reference(text));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('agrees with JSON.parse on what is no array, character by character', () => {
    const character = fc.constantFrom(
      ...'[]{},:"\\1a \n'.split(''),
      'null',
      '-',
      '[1]',
      '{"a":[',
      ']}',
    );
    fc.assert(
      fc.property(fc.array(character, { maxLength: 12 }), cuts, (parts, at) => {
        const text = parts.join('');
        expect(split(text, at)).toEqual(reference(text));
      }),
      { numRuns: 5000 },
    );
  });

  it('refuses an element without end before it fills the memory', () => {
    const splitter = new JsonArraySplitter();
    splitter.write(Buffer.from('["'));
    const piece = Buffer.alloc(32 * 1024, 0x61);
    splitter.write(piece);
    expect(() => splitter.write(piece) && splitter.write(piece)).toThrow(/larger than/);
  });
});

async function drain(stream: Readable): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(Buffer.from(part as Uint8Array));
  return Buffer.concat(parts).toString();
}

describe('the body of a batch', () => {
  const limits = { maxOrders: 2 };

  it('passes NDJSON through as it is', async () => {
    expect(await drain(ndjsonBody(Readable.from([Buffer.from('{"a":1}\r\n\nx\n')]), limits))).toBe(
      '{"a":1}\r\n\nx\n',
    );
  });

  it('turns an array into lines', async () => {
    const body = Readable.from([Buffer.from('[{"a":\n1},'), Buffer.from('2]\n')]);
    expect(await drain(jsonArrayBody(body, limits))).toBe('{"a": 1}\n2\n');
  });

  it.each(['', ' \n \n'])('refuses NDJSON without an order: %j', async (text) => {
    await expect(
      drain(ndjsonBody(Readable.from([Buffer.from(text)]), limits)),
    ).rejects.toMatchObject({ code: 'validation-failed' });
  });

  it.each(['', '[]', '  ', '{}', '[1', '[1,]', '[1] 2'])('refuses the array %j', async (text) => {
    await expect(
      drain(jsonArrayBody(Readable.from([Buffer.from(text)]), limits)),
    ).rejects.toMatchObject({ code: 'validation-failed' });
  });

  it('counts orders, not lines', async () => {
    const ndjson = (text: string) => drain(ndjsonBody(Readable.from([Buffer.from(text)]), limits));
    await expect(ndjson('1\n\n \n2\n')).resolves.toBeDefined();
    await expect(ndjson('1\n2\n3')).rejects.toMatchObject({ code: 'payload-too-large' });
    const array = Readable.from([Buffer.from('[1,2,3]')]);
    await expect(drain(jsonArrayBody(array, limits))).rejects.toMatchObject({
      code: 'payload-too-large',
    });
  });
});
