import { PermanentError } from '../kernel/errors.ts';

/** Longest text of one element; an order takes about 150 bytes. */
const MAX_ELEMENT_BYTES = 64 * 1024;

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

export function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}

type Position =
  /** Before the array. */
  | 'start'
  /** After `[`: an element or `]`. */
  | 'first'
  /** In an element, or before it after a comma. */
  | 'element'
  | 'end';

/**
 * Cuts a JSON array into the texts of its elements while it arrives, holding one element at most. It looks only for
 * where elements end; whether each is JSON is left to `JSON.parse`, which is a hundred times faster than parsing byte
 * by byte. Accepts exactly what `JSON.parse` accepts as an array, of elements up to 64 KiB; everything else throws
 * `validation-failed`.
 */
export class JsonArraySplitter {
  #position: Position = 'start';
  #parts: Buffer[] = [];
  #bytes = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;

  /** Texts of the elements that end in this piece of the body, each on one line. */
  write(piece: Buffer): string[] {
    const found: string[] = [];
    let from = 0;
    for (let at = 0; at < piece.length; at++) {
      const byte = piece[at] as number;
      if (this.#position !== 'element') {
        this.#position = this.#outside(this.#position, byte);
        from = at + 1;
        if (this.#position !== 'element') continue;
        from = at;
      }
      if (!this.#endsElement(byte)) continue;
      this.#keep(piece.subarray(from, at));
      found.push(this.#take());
      this.#position = byte === COMMA ? 'element' : 'end';
      from = at + 1;
    }
    if (this.#position === 'element') this.#keep(piece.subarray(from));
    return found;
  }

  /** Call it when the body has ended. */
  end(): void {
    if (this.#position !== 'end') throw malformed();
  }

  #outside(position: Exclude<Position, 'element'>, byte: number): Position {
    if (isSpace(byte)) return position;
    if (position === 'start' && byte === OPEN_ARRAY) return 'first';
    if (position === 'first') return byte === CLOSE_ARRAY ? 'end' : 'element';
    throw malformed();
  }

  /** Follows strings and nesting; true for the comma or bracket behind an element. */
  #endsElement(byte: number): boolean {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) this.#inString = false;
      return false;
    }
    if (byte === QUOTE) this.#inString = true;
    else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) this.#depth++;
    else if (this.#depth === 0) return byte === COMMA || byte === CLOSE_ARRAY;
    else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) this.#depth--;
    return false;
  }

  #keep(part: Buffer): void {
    this.#bytes += part.length;
    if (this.#bytes > MAX_ELEMENT_BYTES) throw elementTooLong();
    if (part.length > 0) this.#parts.push(part);
  }

  #take(): string {
    const text = Buffer.concat(this.#parts).toString('utf8');
    this.#parts = [];
    this.#bytes = 0;
    try {
      JSON.parse(text);
    } catch (cause) {
      throw malformed(cause);
    }
    // A line break in valid JSON stands between tokens, never within a string.
    return text.replaceAll(/[\r\n]/g, ' ').trim();
  }
}

function malformed(cause?: unknown): PermanentError {
  return new PermanentError(
    'validation-failed',
    'The body is not a valid JSON array; nothing of it was taken.',
    { cause },
  );
}

function elementTooLong(): PermanentError {
  return new PermanentError(
    'validation-failed',
    `An element of the array is larger than ${MAX_ELEMENT_BYTES} bytes; an order is expected.`,
  );
}
