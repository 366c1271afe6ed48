import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { sendEmpty } from './messages.ts';

/** The library's own server, which takes requests as Node's servers do. */
export interface LibraryServer {
  emit(event: 'request', request: unknown, answer: StreamedAnswer): boolean;
}

/** For the proxy only. */
const INVOCATION_ID = 'x-ms-invocation-id';
/** A caller that was answered before its upload ended may go on for so long; then the connection is cut. */
const LINGER_MS = 5_000;

/**
 * What the library writes its answer to, in place of the response of its own server: the part of it that it uses. An
 * answer before the upload has ended closes the connection, but only when the caller has done writing, which would
 * otherwise see a broken pipe instead of the answer.
 */
export class StreamedAnswer {
  statusCode = 200;
  /** Resolves when the answer is complete, or nobody waits for it any more: no more of the upload is asked for. */
  readonly over: Promise<void>;
  /** Resolves when the answer has gone out, or the caller has gone. */
  readonly sent: Promise<void>;
  readonly #incoming: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #hasUpload: boolean;
  /** The first piece, until it is known whether it is all; see {@link write}. */
  #held: Uint8Array | undefined;
  #isOver = false;
  #isEarly = false;
  #resolveOver: () => void = () => undefined;

  /** `hasUpload`: all of the request's body is here, so no answer is too early. */
  constructor(incoming: IncomingMessage, response: ServerResponse, hasUpload: boolean) {
    this.#incoming = incoming;
    this.#response = response;
    this.#hasUpload = hasUpload;
    this.over = new Promise((resolve) => {
      this.#resolveOver = resolve;
    });
    this.sent = new Promise((resolve) => {
      const gone = (): void => {
        this.abandon();
        resolve();
      };
      response.once('finish', resolve);
      response.once('close', gone);
      if (response.destroyed) gone();
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** A status has gone out: another one cannot. */
  get hasBegun(): boolean {
    return this.#response.headersSent;
  }

  setHeader(name: string, value: string | string[]): void {
    if (this.#isOver || this.hasBegun || name.toLowerCase() === INVOCATION_ID) return;
    this.#response.setHeader(name, value);
  }

  /**
   * False when the caller takes it slowly, or not at all. The first piece waits for what else is done in this turn of the
   * event loop: most often that is the end, and then both go out together, with the length instead of chunks.
   */
  write(chunk: Uint8Array): boolean {
    if (this.#isOver) return false;
    if (this.#held === undefined && !this.hasBegun) {
      this.#held = chunk;
      setImmediate(() => this.#release());
      return true;
    }
    this.#release();
    return this.#response.write(chunk);
  }

  end(): void {
    if (this.#isOver) return;
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined && !this.#response.hasHeader('content-length')) {
      this.#response.setHeader('content-length', held.byteLength);
    }
    this.#begin();
    this.abandon();
    if (this.#isEarly) void this.#endAfterUpload(held);
    else this.#response.end(held);
  }

  /** 204, unless the library has answered. */
  sendNothing(): void {
    if (this.#isOver) return;
    this.abandon();
    sendEmpty(this.#response, 204);
  }

  /** What is still written is dropped. */
  abandon(): void {
    this.#release();
    this.#isOver = true;
    this.#resolveOver();
  }

  #release(): void {
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined || this.#response.destroyed) return;
    this.#begin();
    this.#response.write(held);
  }

  #begin(): void {
    if (this.hasBegun) return;
    this.#response.statusCode = this.statusCode;
    this.#isEarly = !this.#hasUpload && !this.#incoming.complete;
    // The next request must not queue behind the rest of this upload.
    if (this.#isEarly) this.#response.setHeader('connection', 'close');
  }

  async #endAfterUpload(held: Uint8Array | undefined): Promise<void> {
    if (held !== undefined) this.#response.write(held);
    else if (!this.hasBegun) this.#response.flushHeaders();
    await uploadEnded(this.#incoming);
    this.#response.end();
  }
}

/** Resolves when the upload has ended in whatever way, or after {@link LINGER_MS}. */
async function uploadEnded(incoming: IncomingMessage): Promise<void> {
  if (incoming.complete || incoming.destroyed) return;
  const settled = new AbortController();
  const ended = new Promise<void>((resolve) => {
    incoming.once('end', resolve);
    incoming.once('close', resolve);
  });
  await Promise.race([
    ended,
    sleep(LINGER_MS, undefined, { signal: settled.signal }).catch(() => undefined),
  ]);
  settled.abort();
}
