import { TLSSocket } from 'node:tls';
import type { ConnectionOptions } from 'mysql2';
import { BugError } from '../kernel/errors.ts';
import { isFailure } from './database-error.ts';
import type { TokenSource } from './entra-tokens.ts';

export type AuthPlugins = NonNullable<ConnectionOptions['authPlugins']>;

/** The connection as the driver hands it to a plugin; its typings leave out the stream. */
interface PluginConnection {
  readonly stream?: unknown;
}

/**
 * The driver's `authPlugins` for one connection that signs in with a token: the server asks for it by
 * `mysql_clear_password`, which sends it as it is. Hence only to a server whose certificate has been verified, over
 * the encrypted stream itself, whatever the settings say: the driver would hand it to any server that asks.
 */
export function entraAuthPlugins(token: string): AuthPlugins {
  return {
    mysql_clear_password: (metadata) => () => {
      const { stream } = metadata.connection as unknown as PluginConnection;
      if (!(stream instanceof TLSSocket) || !stream.encrypted || !stream.authorized) {
        throw new Error(
          'The server asked for the sign-in token over a connection that is not encrypted or not verified; it was not sent.',
        );
      }
      // The protocol ends it with a zero byte.
      return Buffer.from(`${token}\0`, 'utf8');
    },
  };
}

/**
 * Connects with a token that is valid now. A server that refuses one which was held already is asked once more with a
 * new one: it may have been withdrawn, or our clock may be wrong. Passes on what `connect` throws, and `shard-unavailable`
 * when there is no token.
 */
export async function signInWithToken<T>(
  tokens: TokenSource | undefined,
  limitMs: number,
  connect: (plugins: AuthPlugins) => Promise<T>,
): Promise<T> {
  if (tokens === undefined)
    throw new BugError('a shard with auth "entra" needs a source of tokens');
  const first = await tokens.token(limitMs);
  try {
    return await connect(entraAuthPlugins(first.text));
  } catch (error) {
    if (!isFailure(error, 'misconfigured')) throw error;
    tokens.refuse(first);
    if (!first.held) throw error;
    const second = await tokens.token(limitMs);
    return connect(entraAuthPlugins(second.text));
  }
}
