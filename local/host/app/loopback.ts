import { Server } from 'node:net';

type Listen = (this: Server, ...args: unknown[]) => Server;

/**
 * Runs `start` so that servers it opens without naming an address listen on loopback only. The library's streaming
 * server names none and cannot be told one: by itself it would listen on every interface of the machine.
 * `onServer` is told of each.
 */
export async function onLoopback<T>(
  start: () => Promise<T>,
  onServer: (server: Server) => void = () => undefined,
): Promise<T> {
  const prototype = Server.prototype as unknown as { listen: Listen };
  const listen = prototype.listen;
  prototype.listen = function (...args) {
    const [first, second] = args;
    const port = typeof first === 'number' ? first : 0;
    const namesAddress = typeof second === 'string' || (first !== undefined && isAddress(first));
    if (namesAddress) return listen.apply(this, args);
    onServer(this);
    const callback = args.find((argument) => typeof argument === 'function');
    return listen.call(this, { port, host: '127.0.0.1' }, callback);
  };
  try {
    return await start();
  } finally {
    prototype.listen = listen;
  }
}

/** A path or an options object: whoever passes one says where to listen. */
function isAddress(argument: unknown): boolean {
  return typeof argument === 'string' || (typeof argument === 'object' && argument !== null);
}
