import type { Readable } from 'node:stream';

/** Longest line looked at; an order takes about 150 bytes. */
export const MAX_LINE_BYTES = 16 * 1024;

/** One line of NDJSON, without its end; `text` is undefined when it is longer than {@link MAX_LINE_BYTES}. */
export interface Line {
  /** From 1, blank lines included, as an editor shows it. */
  readonly number: number;
  readonly text: string | undefined;
}

/** Where reading may go on: at the first byte of a line, or within one that was too long and has been told. */
export interface LinePosition {
  readonly byte: number;
  /** Number of the line that begins there, or that is skipped. */
  readonly line: number;
  readonly skips: boolean;
}

export const FIRST_LINE: LinePosition = { byte: 0, line: 1, skips: false };

const LF = 0x0a;

/**
 * Cuts bytes that come in pieces into lines that are not blank, whatever their ends (LF or CRLF) and however the bytes
 * are cut. A byte order mark before the first line is dropped. Holds one line at most, so that no input can fill the
 * memory. A piece's lines are decoded together: one by one costs five times as much.
 */
export class LineSplitter {
  #byte: number;
  #number: number;
  #skips: boolean;
  /** Bytes of the line that has not ended yet. */
  #held: Buffer[] = [];
  #heldBytes = 0;

  constructor(from: LinePosition) {
    this.#byte = from.byte;
    this.#number = from.line;
    this.#skips = from.skips;
  }

  /** The lines that end in this piece. */
  write(piece: Buffer): Line[] {
    const lines: Line[] = [];
    let from = 0;
    const first = piece.indexOf(LF);
    if (first === -1) {
      this.#hold(piece);
      this.#tellTooLong(lines);
      return lines;
    }
    if (this.#heldBytes > 0 || this.#skips) {
      this.#hold(piece.subarray(0, first));
      this.#endHeld(lines);
      this.#byte++;
      from = first + 1;
    }
    const end = piece.lastIndexOf(LF);
    if (end >= from) {
      for (const text of piece.toString('utf8', from, end).split('\n')) this.#add(lines, text);
      this.#byte += end + 1 - from;
      from = end + 1;
    }
    this.#hold(piece.subarray(from));
    this.#tellTooLong(lines);
    return lines;
  }

  /** The last line, when the bytes have ended without a line break behind it. */
  end(): Line[] {
    const lines: Line[] = [];
    if (this.#heldBytes > 0) this.#endHeld(lines);
    return lines;
  }

  /** Behind the lines given so far. */
  get position(): LinePosition {
    return { byte: this.#byte, line: this.#number, skips: this.#skips };
  }

  #hold(part: Buffer): void {
    if (part.length === 0) return;
    if (this.#skips) {
      this.#byte += part.length;
      return;
    }
    this.#held.push(part);
    this.#heldBytes += part.length;
  }

  /** A line that is too long is told as soon as it is known to be, and the rest of it skipped. */
  #tellTooLong(lines: Line[]): void {
    if (this.#heldBytes <= MAX_LINE_BYTES) return;
    lines.push({ number: this.#number, text: undefined });
    this.#byte += this.#heldBytes;
    this.#held = [];
    this.#heldBytes = 0;
    this.#skips = true;
  }

  /** The line that was held has ended. */
  #endHeld(lines: Line[]): void {
    if (this.#skips) {
      this.#skips = false;
      this.#number++;
      return;
    }
    this.#byte += this.#heldBytes;
    const text = Buffer.concat(this.#held).toString('utf8');
    this.#held = [];
    this.#heldBytes = 0;
    this.#add(lines, text);
  }

  #add(lines: Line[], text: string): void {
    const number = this.#number++;
    if (isTooLong(text)) {
      lines.push({ number, text: undefined });
      return;
    }
    const trimmed = (number === 1 && text.startsWith('\uFEFF') ? text.slice(1) : text).trim();
    if (trimmed !== '') lines.push({ number, text: trimmed });
  }
}

/** A character takes three bytes at most, so that short texts need no count. */
function isTooLong(text: string): boolean {
  return text.length > MAX_LINE_BYTES / 3 && Buffer.byteLength(text) > MAX_LINE_BYTES;
}

/** Lines of a stream that begins at `splitter`'s position, in groups as they come. The last line needs no end. */
export async function* readLines(
  source: Readable,
  splitter: LineSplitter,
): AsyncGenerator<readonly Line[]> {
  for await (const chunk of source) {
    yield splitter.write(Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk as Uint8Array));
  }
}
