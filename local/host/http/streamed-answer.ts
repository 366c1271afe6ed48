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
  #isOver = false;
  #isEarly = false;
  #resolveOver: () => void = () => undefined;

  constructor(incoming: IncomingMessage, response: ServerResponse) {
    this.#incoming = incoming;
    this.#response = response;
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

  /** False when the caller takes it slowly, or not at all. */
  write(chunk: Uint8Array): boolean {
    if (this.#isOver) return false;
    this.#begin();
    return this.#response.write(chunk);
  }

  end(): void {
    if (this.#isOver) return;
    this.#begin();
    this.abandon();
    if (this.#isEarly) void this.#endAfterUpload();
    else this.#response.end();
  }

  /** 204, unless the library has answered. */
  sendNothing(): void {
    if (this.#isOver) return;
    this.abandon();
    sendEmpty(this.#response, 204);
  }

  /** What is still written is dropped. */
  abandon(): void {
    this.#isOver = true;
    this.#resolveOver();
  }

  #begin(): void {
    if (this.hasBegun) return;
    this.#response.statusCode = this.statusCode;
    this.#isEarly = !this.#incoming.complete;
    // The next request must not queue behind the rest of this upload.
    if (this.#isEarly) this.#response.setHeader('connection', 'close');
  }

  async #endAfterUpload(): Promise<void> {
    if (!this.hasBegun) this.#response.flushHeaders();
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
