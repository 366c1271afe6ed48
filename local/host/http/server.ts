import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { errorMessage, HostStartError } from '../app/errors.ts';
import { InvocationFailure, type HostLogger } from '../contracts.ts';
import { BodyTooLargeError, sendEmpty } from './messages.ts';

export type RequestHandler = (
  incoming: IncomingMessage,
  response: ServerResponse,
  url: URL,
) => Promise<void>;

export interface HttpServer {
  /** `http://127.0.0.1:7071`, without a trailing slash. */
  readonly origin: string;
  /** Until this is called every request is answered 503: the port is needed before the app is loaded. */
  serve(handler: RequestHandler): void;
  /** Stops accepting; open requests get up to `drainMs`, then their connections are cut. */
  close(drainMs: number): Promise<void>;
}

/** Listens on the address. Throws {@link HostStartError} when the port is taken. */
export async function listen(options: {
  readonly host: string;
  readonly port: number;
  readonly logger: HostLogger;
}): Promise<HttpServer> {
  let handler: RequestHandler | undefined;
  const server = createServer((incoming, response) => {
    void answer(handler, { incoming, response, fallbackHost: options.host }, options.logger);
  });
  // A long upload or a slow handler is the app's business, not the server's.
  server.requestTimeout = 0;
  await bind(server, options);
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://${urlHost(options.host)}:${port}`,
    serve: (next) => {
      handler = next;
    },
    close: (drainMs) => closeServer(server, drainMs),
  };
}

/** The name under which this machine reaches the address it listens on. */
function urlHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}

async function bind(
  server: Server,
  options: { readonly host: string; readonly port: number },
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason =
        error.code === 'EADDRINUSE'
          ? `Port ${options.port} on ${options.host} is in use. Choose another with --port (0 picks a free one).`
          : `Cannot listen on ${options.host}:${options.port}: ${error.message}`;
      reject(new HostStartError(reason, error));
    });
    server.listen(options.port, options.host, resolve);
  });
}

async function closeServer(server: Server, drainMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  // A connection that finishes its request now would stay open for the keep-alive time.
  const sweep = setInterval(() => server.closeIdleConnections(), 50);
  const cut = setTimeout(() => server.closeAllConnections(), drainMs);
  await closed;
  clearInterval(sweep);
  clearTimeout(cut);
}

async function answer(
  handler: RequestHandler | undefined,
  request: {
    readonly incoming: IncomingMessage;
    readonly response: ServerResponse;
    readonly fallbackHost: string;
  },
  logger: HostLogger,
): Promise<void> {
  const { incoming, response } = request;
  try {
    const base = `http://${incoming.headers.host ?? request.fallbackHost}`;
    const url = URL.parse(incoming.url ?? '/', base);
    if (url === null) {
      sendEmpty(response, 400);
    } else if (handler === undefined) {
      sendEmpty(response, 503, { 'retry-after': '1' });
    } else {
      await handler(incoming, response, url);
    }
  } catch (error) {
    fail(response, error, logger);
  }
}

function fail(response: ServerResponse, error: unknown, logger: HostLogger): void {
  const isTooLarge = error instanceof BodyTooLargeError;
  // What a function did wrong has been logged with its name.
  const isKnown = isTooLarge || error instanceof InvocationFailure;
  if (!isKnown && !response.destroyed) {
    logger.log('error', 'http_request_failed', { message: errorMessage(error) });
  }
  if (response.headersSent) {
    // The client must not take a cut-off body for a whole one.
    response.destroy();
  } else {
    for (const name of response.getHeaderNames()) response.removeHeader(name);
    sendEmpty(response, isTooLarge ? 413 : 500, { connection: 'close' });
  }
}
