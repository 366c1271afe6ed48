import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_LINE_BYTES, readLines, type Line } from '../../../src/ingestion/lines.ts';

async function linesOf(parts: readonly Buffer[]): Promise<Line[]> {
  const lines: Line[] = [];
  for await (const line of readLines(Readable.from(parts))) lines.push(line);
  return lines;
}

function cut(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...new Set([...cuts.map((at) => Math.min(at, bytes.length)), bytes.length])];
  ends.sort((a, b) => a - b);
  return ends.map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

describe('readLines', () => {
  it('gives the lines of the text, however the stream is cut, with the numbers an editor shows', async () => {
    const text = fc
      .array(fc.constantFrom('a', 'ü', '€', '😀', ' ', '\n', '\r\n', '{"x":1}'), { maxLength: 30 })
      .map((parts) => parts.join(''));
    await fc.assert(
      fc.asyncProperty(text, fc.array(fc.nat(80), { maxLength: 6 }), async (whole, cuts) => {
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
    expect(await linesOf([Buffer.from('1\n'), long, Buffer.from('\n2')])).toEqual([
      { number: 1, text: '1' },
      { number: 2, text: undefined },
      { number: 3, text: '2' },
    ]);
  });
});
