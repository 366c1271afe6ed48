/** The command could not do what it was asked to; `message` says what to do next. */
export class CannotDo extends Error {}

/** How an operator's command reaches the app. */
export interface AppClientOptions {
  /** Origin of the app. */
  readonly url: string;
  readonly key: string | undefined;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
}

export interface Reply {
  readonly status: number;
  /** Undefined when it was no JSON. */
  readonly body: unknown;
}

/** Longer than the app itself waits for anything behind these routes. */
const REQUEST_LIMIT_MS = 60_000;

/** Sends one request below `/api/ops`. Throws {@link CannotDo} when nothing answers. */
export async function sendToApp(
  { url, key, fetch }: AppClientOptions,
  request: { readonly method: string; readonly path: string; readonly json?: unknown },
): Promise<Reply> {
  const { method, path, json } = request;
  try {
    const response = await fetch(`${url.replace(/\/+$/, '')}/api/ops/${path}`, {
      method,
      headers: {
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
        ...(key === undefined ? {} : { 'x-functions-key': key }),
      },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      signal: AbortSignal.timeout(REQUEST_LIMIT_MS),
    });
    return { status: response.status, body: parse(await response.text()) };
  } catch (cause) {
    throw new CannotDo(
      `Nothing answers at ${url}. Start the app (npm start), or say where it is with --url.`,
      { cause },
    );
  }
}

/** What to say of a reply that is about the key; undefined for any other. */
export function keyRefused(
  { key }: Pick<AppClientOptions, 'key'>,
  { status }: Reply,
): CannotDo | undefined {
  if (status !== 401 && status !== 403) return undefined;
  return new CannotDo(
    key === undefined
      ? 'The app asks for an admin key: give it with --key or SHARDLINE_ADMIN_KEY.'
      : 'The app does not take this key. An admin key (on Azure the _master key) is needed.',
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
