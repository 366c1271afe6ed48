/** Which server speaks the protocol. Both are tested; production runs MySQL. */
export type Engine = 'mysql' | 'mariadb';

export interface ServerVersion {
  readonly engine: Engine;
  /** `major.minor.patch`, nothing else. */
  readonly version: string;
}

/** Oldest servers with the syntax the product uses (row aliases, CHECK, `SKIP LOCKED`). */
const OLDEST: Readonly<Record<Engine, string>> = { mysql: '8.0.19', mariadb: '10.6.0' };

/**
 * Reads the output of `mysqld --version` or `mariadbd --version`.
 * Returns `undefined` when it is not the line of a server.
 */
export function parseServerVersion(output: string): ServerVersion | undefined {
  const match = /\bVer\s+(\d+\.\d+\.\d+)(\S*)/.exec(output);
  if (match?.[1] === undefined) return undefined;
  const engine = /mariadb/i.test(match[2] ?? '') ? 'mariadb' : 'mysql';
  return { engine, version: match[1] };
}

/** Negative when `left` is older, positive when it is newer, 0 when equal. Both `major.minor.patch`. */
export function compareVersions(left: string, right: string): number {
  const rights = right.split('.').map(Number);
  for (const [index, part] of left.split('.').map(Number).entries()) {
    const difference = part - (rights[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Why this server cannot be used, or `undefined` when it can. */
export function unsupportedReason(server: ServerVersion): string | undefined {
  const oldest = OLDEST[server.engine];
  if (compareVersions(server.version, oldest) >= 0) return undefined;
  return `${engineName(server.engine)} ${server.version} is too old; ${oldest} or newer is needed`;
}

/** The engine's name as people write it. */
export function engineName(engine: Engine): string {
  return engine === 'mysql' ? 'MySQL' : 'MariaDB';
}
