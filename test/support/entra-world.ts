import type { TokenSource } from '../../src/database/entra-tokens.ts';
import { createTokenSource } from '../../src/database/entra-tokens.ts';
import { type Clock, systemClock } from '../../src/kernel/clock.ts';
import { createRecordingLogger } from './recording-logger.ts';

/** The sign-in service of a test: gives numbered tokens, or none. */
export interface TestIdentity {
  readonly source: TokenSource;
  /** Tokens given so far. */
  given: number;
  /** Set to make requests for a token fail, or never be answered. */
  state: 'up' | 'down' | 'silent';
  lifeMs: number;
  /** How long one request takes. */
  takesMs: number;
}

export function createTestIdentity(clock: Clock = systemClock): TestIdentity {
  const identity: { -readonly [key in keyof TestIdentity]: TestIdentity[key] } = {
    given: 0,
    state: 'up',
    lifeMs: 3_600_000,
    takesMs: 0,
    source: undefined as unknown as TokenSource,
  };
  identity.source = createTokenSource({
    clock,
    logger: createRecordingLogger(),
    credential: () =>
      Promise.resolve({
        getToken: async () => {
          if (identity.takesMs > 0) await systemClock.sleep(identity.takesMs);
          if (identity.state === 'down') throw new Error('the identity endpoint is away');
          if (identity.state === 'silent') await new Promise(() => undefined);
          identity.given += 1;
          return {
            token: `token-${identity.given}`,
            expiresOnTimestamp: clock.nowMs() + identity.lifeMs,
          };
        },
      }),
  });
  return identity;
}
