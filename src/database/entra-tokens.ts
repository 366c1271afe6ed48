import type { AccessToken, TokenCredential } from '@azure/identity';
import type { Clock } from '../kernel/clock.ts';
import { errorFields, type Logger } from '../kernel/logger.ts';
import { DatabaseError } from './database-error.ts';

/** Audience of Azure Database for MySQL in the public cloud (Microsoft Learn, "Use Microsoft Entra ID for authentication"). */
const MYSQL_SCOPE = 'https://ossrdbms-aad.database.windows.net/.default';
/** A token is not used any more this long before its end: signing in takes a moment, and clocks differ. */
const LEAST_LIFE_MS = 30_000;
/** From this long before its end a new one is asked for; the service gives tokens of 5 minutes at the least. */
const REFRESH_BEFORE_END_MS = 120_000;

/** A token to sign in to a shard with. */
export interface SignInToken {
  readonly text: string;
  /** It was held already, so the server may know better than our clock that it has ended. */
  readonly held: boolean;
}

/** Where new connections get their token. */
export interface TokenSource {
  /**
   * A token that lives for another 30 s at least. Throws `shard-unavailable` when none can be had within `limitMs`:
   * a retry may help, nothing was sent to the server.
   */
  token(limitMs: number): Promise<SignInToken>;
  /** The server refused this token: the next call asks for a new one. */
  refuse(token: SignInToken): void;
}

export interface TokenSourceOptions {
  readonly credential: () => Promise<TokenCredential>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Holds one token for all shards, since they have one audience. However many connections open at once, one request for
 * a token is under way. While a new one cannot be had, the old one serves until its end.
 */
export function createTokenSource(options: TokenSourceOptions): TokenSource {
  const { clock, logger } = options;
  let held: AccessToken | undefined;
  let asking: Promise<AccessToken> | undefined;

  const lifeMs = (): number => (held === undefined ? 0 : held.expiresOnTimestamp - clock.nowMs());

  const ask = (limitMs: number): Promise<AccessToken> => {
    asking ??= fetchToken(options, limitMs)
      .then((token) => (held = token))
      .finally(() => {
        asking = undefined;
      });
    return asking;
  };

  return {
    async token(limitMs) {
      const before = held;
      if (before !== undefined && lifeMs() > REFRESH_BEFORE_END_MS) {
        return { text: before.token, held: true };
      }
      try {
        return { text: (await ask(limitMs)).token, held: false };
      } catch (error) {
        if (held === undefined || lifeMs() <= LEAST_LIFE_MS) throw error;
        logger.log('warn', 'database.token_not_renewed', {
          lifeMs: lifeMs(),
          ...errorFields(error),
        });
        return { text: held.token, held: true };
      }
    },
    refuse(token) {
      if (held?.token === token.text) held = undefined;
    },
  };
}

/** One request, ended by its answer or by the limit: the identity endpoint's own retries may take minutes. */
async function fetchToken(options: TokenSourceOptions, limitMs: number): Promise<AccessToken> {
  const { clock, credential } = options;
  const late = new AbortController();
  const done = new AbortController();
  const timeUp = clock.sleep(limitMs, done.signal).then(
    (): never => {
      late.abort();
      throw new Error(`no answer within ${limitMs} ms`);
    },
    () => new Promise<never>(() => undefined), // The answer came first.
  );
  try {
    const request = credential().then((signedIn) =>
      signedIn.getToken(MYSQL_SCOPE, { abortSignal: late.signal }),
    );
    const token = await Promise.race([request, timeUp]);
    if (token === null) throw new Error('the credential gave no token');
    if (token.expiresOnTimestamp - clock.nowMs() <= LEAST_LIFE_MS) {
      throw new Error('the token that was given has ended; is the clock right?');
    }
    return token;
  } catch (error) {
    // Without the library's own text, which can be pages long and name accounts, in what callers see.
    throw new DatabaseError('unreachable', {
      cause: error,
      details: { reason: 'no Microsoft Entra token could be had to sign in with' },
    });
  } finally {
    done.abort();
  }
}
