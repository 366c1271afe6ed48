/**
 * How the durable API and its clients get along with `--auth`. The engine knows no keys: it writes
 * the placeholder below into its URLs, and this layer, which checks the keys, fills it in.
 */
import { randomBytes } from 'node:crypto';
import { isRecord } from '../app/errors.ts';

const PLACEHOLDER = /([?&])code=local\b/g;

export interface DurableAccess {
  /**
   * Path under which durable clients of the app call the API. It needs no key, because it is not to
   * be guessed and known to this process only; Azure's host has a port of its own for this.
   */
  readonly rpcPath: string;
  /** Puts the system key into URLs handed out to callers. */
  withKey(text: string): string;
  /** The input of a durable client, pointed to `rpcPath`. */
  clientInput(json: string): string;
}

/** Makes the access for a host that asks for keys; without `--auth` none is needed. */
export function createDurableAccess(origin: string, systemKey: string): DurableAccess {
  const rpcPath = `/runtime/rpc/${randomBytes(24).toString('base64url')}`;
  const withKey = (text: string): string => text.replace(PLACEHOLDER, `$1code=${systemKey}`);
  return {
    rpcPath,
    withKey,
    clientInput(json) {
      const input: unknown = JSON.parse(withKey(json));
      return JSON.stringify({
        ...(isRecord(input) ? input : {}),
        rpcBaseUrl: `${origin}${rpcPath}/`,
      });
    },
  };
}
