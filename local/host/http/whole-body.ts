import type { IncomingMessage } from 'node:http';

/** Larger ones are streamed, however much of them has come. */
const MOST_BYTES = 65_536;

/**
 * The request's body in one piece, if all of it is here: a small one comes in a packet with the head, and is read by the
 * time that the handler of the request has waited for anything. Undefined, with nothing taken, if more is to come, or it is
 * not said how much, or the caller has gone.
 */
export function takeWhole(incoming: IncomingMessage): Buffer | undefined {
  const { 'content-length': length, 'transfer-encoding': encoding } = incoming.headers;
  const bytes = Number(length ?? 0);
  const isHere = encoding === undefined && incoming.readableLength === bytes;
  if (!isHere || bytes > MOST_BYTES || incoming.destroyed) return undefined;
  const body = (incoming.read() as Buffer | null) ?? Buffer.alloc(0);
  // Its end is still to come, without a byte.
  incoming.resume();
  return body;
}
