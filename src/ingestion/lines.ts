import type { Readable } from 'node:stream';

/** Longest line looked at; an order takes about 150 bytes. */
export const MAX_LINE_BYTES = 16 * 1024;

/** One line of NDJSON, without its end; `text` is undefined when it is longer than {@link MAX_LINE_BYTES}. */
export interface Line {
  /** From 1, blank lines included, as an editor shows it. */
  readonly number: number;
  readonly text: string | undefined;
}

const LF = 0x0a;

/**
 * Lines of a byte stream that are not blank, whatever their ends (LF or CRLF) and however the stream is cut. A byte
 * order mark before the first line is dropped. Holds one line at most, so that no input can fill the memory.
 */
export async function* readLines(source: Readable): AsyncGenerator<Line> {
  const line = new LineBuffer();
  let number = 1;
  for await (const chunk of source) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk as Uint8Array);
    let from = 0;
    for (let end = bytes.indexOf(LF); end !== -1; end = bytes.indexOf(LF, from)) {
      line.add(bytes.subarray(from, end));
      const text = line.take(number === 1);
      if (text !== '') yield { number, text };
      number++;
      from = end + 1;
    }
    line.add(bytes.subarray(from));
  }
  const text = line.take(number === 1);
  if (text !== '') yield { number, text };
}

class LineBuffer {
  #parts: Buffer[] = [];
  #bytes = 0;

  add(part: Buffer): void {
    if (part.length === 0) return;
    this.#bytes += part.length;
    if (this.#bytes <= MAX_LINE_BYTES) this.#parts.push(part);
    else this.#parts = [];
  }

  /** The line, trimmed; undefined when it was too long. Empties the buffer. */
  take(first: boolean): string | undefined {
    const tooLong = this.#bytes > MAX_LINE_BYTES;
    // Most lines lie in one piece, which is not copied.
    const [only] = this.#parts;
    const bytes = this.#parts.length === 1 && only ? only : Buffer.concat(this.#parts);
    const text = bytes.toString('utf8');
    this.#parts = [];
    this.#bytes = 0;
    if (tooLong) return undefined;
    return (first && text.startsWith('\uFEFF') ? text.slice(1) : text).trim();
  }
}
