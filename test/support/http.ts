/** A small client for tests over real HTTP: no retries, nothing hidden. */
export interface HttpClient {
  readonly origin: string;
  request(method: string, path: string, options?: RequestOptions): Promise<HttpReply>;
  get(path: string, headers?: Record<string, string>): Promise<HttpReply>;
  post(path: string, json: unknown, headers?: Record<string, string>): Promise<HttpReply>;
  put(path: string, json: unknown, headers?: Record<string, string>): Promise<HttpReply>;
}

export interface RequestOptions {
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer | ReadableStream<Uint8Array>;
}

export interface HttpReply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The parsed body as an object; `{}` when there is none. */
  readonly json: Record<string, unknown>;
}

export function createHttpClient(origin: string): HttpClient {
  const request = async (
    method: string,
    path: string,
    options: RequestOptions = {},
  ): Promise<HttpReply> => {
    const response = await fetch(`${origin}${path}`, {
      method,
      headers: options.headers ?? {},
      ...(options.body === undefined ? {} : { body: options.body, duplex: 'half' }),
    } as RequestInit);
    const text = await response.text();
    const isJson = /json/.test(response.headers.get('content-type') ?? '');
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: isJson && text !== '' ? (JSON.parse(text) as Record<string, unknown>) : {},
    };
  };
  const sendJson =
    (method: string) =>
    (path: string, json: unknown, headers: Record<string, string> = {}): Promise<HttpReply> =>
      request(method, path, {
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(json),
      });
  return {
    origin,
    request,
    get: (path, headers = {}) => request('GET', path, { headers }),
    post: sendJson('POST'),
    put: sendJson('PUT'),
  };
}

/** Asks until `done` says so; throws with the last answer after `timeoutMs`. */
export async function until<T>(
  ask: () => Promise<T>,
  done: (answer: T) => boolean,
  options: { readonly timeoutMs: number; readonly everyMs?: number },
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    const answer = await ask();
    if (done(answer)) return answer;
    if (performance.now() > deadline) {
      throw new Error(`not so within ${options.timeoutMs} ms; last: ${JSON.stringify(answer)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, options.everyMs ?? 100));
  }
}
