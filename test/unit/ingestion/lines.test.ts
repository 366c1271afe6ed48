import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  FIRST_LINE,
  LineSplitter,
  MAX_LINE_BYTES,
  readLines,
  type Line,
  type LinePosition,
} from '../../../src/ingestion/lines.ts';

async function linesOf(parts: readonly Buffer[]): Promise<Line[]> {
  const lines: Line[] = [];
  const splitter = new LineSplitter(FIRST_LINE);
  for await (const group of readLines(Readable.from(parts), splitter)) lines.push(...group);
  return [...lines, ...splitter.end()];
}

function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...new Set([...cuts.map((at) => Math.min(at, bytes.length)), bytes.length])];
  ends.sort((a, b) => a - b);
  return ends.map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

/** The whole in parts, each read by a splitter of its own from where the one before stopped. */
function inSegments(whole: Buffer, bytes: number): Line[] {
  const lines: Line[] = [];
  let position: LinePosition = FIRST_LINE;
  for (;;) {
    const splitter = new LineSplitter(position);
    lines.push(...splitter.write(whole.subarray(position.byte, position.byte + bytes)));
    if (position.byte + bytes >= whole.length) return [...lines, ...splitter.end()];
    position = splitter.position;
  }
}

const texts = (...more: string[]) =>
  fc
    .array(fc.constantFrom('a', 'ü', '€', '😀', ' ', '\n', '\r\n', '{"x":1}', ...more), {
      maxLength: 30,
    })
    .map((parts) => parts.join(''));

describe('readLines', () => {
  it('gives the lines of the text, however the stream is cut, with the numbers an editor shows', async () => {
    await fc.assert(
      fc.asyncProperty(texts(), fc.array(fc.nat(80), { maxLength: 6 }), async (whole, cuts) => {
        const expected = whole
          .split('\n')
          .map((line, index) => ({ number: index + 1, text: line.trim() }))
          .filter((line) => line.text !== '');
        expect(await linesOf(cut(Buffer.from(whole), cuts))).toEqual(expected);
      }),
    );
  });

  it('drops a byte order mark', async () => {
    expect(await linesOf([Buffer.from('\uFEFF1\n2')])).toEqual([
      { number: 1, text: '1' },
      { number: 2, text: '2' },
    ]);
  });

  it('reports a line that is too long and goes on behind it', async () => {
    const long = Buffer.alloc(MAX_LINE_BYTES * 3, 0x61);
    const lines = [
      { number: 1, text: '1' },
      { number: 2, text: undefined },
      { number: 3, text: '2' },
    ];
    expect(await linesOf([Buffer.from('1\n'), long, Buffer.from('\n2')])).toEqual(lines);
    expect(await linesOf([Buffer.concat([Buffer.from('1\n'), long, Buffer.from('\n2')])])).toEqual(
      lines,
    );
  });
});

describe('LineSplitter', () => {
  it('goes on at its position as if it had never stopped, also within a line that is too long', async () => {
    const long = 'b'.repeat(MAX_LINE_BYTES + 1);
    const invalid = fc.boolean();
    await fc.assert(
      fc.asyncProperty(texts(long), invalid, fc.nat(5_000), async (text, broken, more) => {
        const bytes = Buffer.from(text);
        // Not UTF-8: characters and bytes differ in number where nobody expects it.
        const whole = broken ? Buffer.concat([Buffer.from([0xff, 0xe2, 0x0a]), bytes]) : bytes;
        // A segment is larger than any line that is kept whole.
        expect(inSegments(whole, MAX_LINE_BYTES + 1 + more)).toEqual(await linesOf([whole]));
      }),
    );
  });
});
