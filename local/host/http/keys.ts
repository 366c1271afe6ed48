import { randomBytes, timingSafeEqual } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { isRecord } from '../app/errors.ts';

export interface HostKeys {
  /** Opens everything, `admin` functions and `/admin` included. */
  readonly master: string;
  /** Opens functions of level `function`. */
  readonly function: string;
  /** Opens the durable management API. */
  readonly system: string;
}

export type AccessLevel = 'anonymous' | 'function' | 'system' | 'admin';

const newKey = (): string => randomBytes(30).toString('base64url');

/** Reads the keys of the data folder, or makes and stores them (mode 600) at the first `--auth`. */
export function loadKeys(dataDir: string): HostKeys {
  const file = join(dataDir, 'keys.json');
  const stored: unknown = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  const known = isRecord(stored) ? stored : {};
  const key = (name: string): string => {
    const value = known[name];
    return typeof value === 'string' && value !== '' ? value : newKey();
  };
  const keys = { master: key('master'), function: key('function'), system: key('system') };
  writeFileSync(file, `${JSON.stringify(keys, undefined, 2)}\n`, { mode: 0o600 });
  return keys;
}

/** Maps a binding's `authLevel`; anything unknown counts as the strictest. */
export function accessLevel(authLevel: unknown): AccessLevel {
  const level = typeof authLevel === 'string' ? authLevel.toLowerCase() : 'function';
  if (level === 'anonymous' || level === 'function') return level;
  return 'admin';
}

function equal(given: string, expected: string): boolean {
  const a = Buffer.from(given);
  const b = Buffer.from(expected);
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Checks a key given as `x-functions-key` (which wins) or `?code=`. Without `keys` all is open. */
export function isAllowed(
  keys: HostKeys | undefined,
  level: AccessLevel,
  request: { readonly incoming: IncomingMessage; readonly url: URL },
): boolean {
  if (keys === undefined || level === 'anonymous') return true;
  const header = request.incoming.headers['x-functions-key'];
  const given = typeof header === 'string' ? header : request.url.searchParams.get('code');
  if (given === null) return false;
  if (equal(given, keys.master)) return true;
  return level !== 'admin' && equal(given, level === 'system' ? keys.system : keys.function);
}
