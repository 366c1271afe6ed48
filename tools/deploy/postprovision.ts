import { parseShards, type ShardSettings } from '../../src/config.ts';
import { createTokenSource, type TokenSource } from '../../src/database/entra-tokens.ts';
import { loadMigrations } from '../../src/database/migration-files.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { createJsonLogger } from '../../src/kernel/logger.ts';
import { CannotDo } from '../app-client.ts';
import { type DatabaseUser, ensureUser, userStatements } from './database-users.ts';
import { createOperatorCredential } from './operator-credential.ts';
import { secretIn } from './secrets.ts';
import {
  DEFAULT_CONCURRENCY,
  deliverSchema,
  describeSchemas,
  exitCodeOf,
  onEachShard,
  type ShardSchema,
} from './schema.ts';

/**
 * Hook of `azd provision`: creates the database users of the app and the migrator on every server, then brings the
 * schema up to this build. Idempotent. Signs in as the servers' Entra administrator, who must be whoever runs this.
 *
 * Environment (azd's outputs): SHARDS, MYSQL_ADMIN_LOGIN, MYSQL_APP_USER, MYSQL_MIGRATOR_USER, APP_IDENTITY_CLIENT_ID,
 * MIGRATOR_IDENTITY_CLIENT_ID, MYSQL_PUBLIC_ACCESS. Ways out, each on its own: with MYSQL_ADMIN_PASSWORD it signs in by
 * password; a user whose APP_PASSWORD or MIGRATOR_PASSWORD is given signs in by that one. The template gives the app the same
 * APP_PASSWORD (docs/deploy.md). Entra users can only be created by somebody who has signed in with Entra.
 *
 * Exit code: 0 done, 1 a server failed: run it again, 2 somebody must act first: a setting is wrong, a server refuses, or
 * a version clashes. The schema is left alone until all users are there.
 */
async function main(env: Readonly<Record<string, string | undefined>>): Promise<number> {
  const logger = createJsonLogger({
    minimum: 'warn',
    write: (line) => console.error(line),
    nowMs: () => Date.now(),
  });
  const tokens = createTokenSource({
    credential: createOperatorCredential(env['AZURE_TENANT_ID']),
    clock: systemClock,
    logger,
  });
  const shards = asAdministrator(parseShards(env['SHARDS']), env);
  const users = usersOf(env);
  // Before anything is sent: what does not fit is refused here.
  for (const user of users) userStatements(user, shards[0]?.database ?? '');
  const failed = await createUsers(shards, users, tokens);
  if (failed.length > 0) {
    console.error(describeSchemas(failed));
    const isAway = failed.some(({ state }) => state === 'failed');
    if (isAway && env['MYSQL_PUBLIC_ACCESS'] === 'Disabled') console.error(UNREACHABLE);
    return exitCodeOf(failed);
  }
  const files = await loadMigrations();
  const concurrency = DEFAULT_CONCURRENCY;
  const result = await deliverSchema({ shards, files, concurrency, dryRun: false, tokens, logger });
  console.log(describeSchemas(result));
  return exitCodeOf(result);
}

const UNREACHABLE = `The servers take no connection from outside their network (MYSQL_PUBLIC_ACCESS=Disabled). Either run this
from a machine inside it, or open them for this one step:
  azd env set MYSQL_PUBLIC_ACCESS Enabled && azd provision
and close them again: azd env set MYSQL_PUBLIC_ACCESS Disabled && azd provision`;

function required(env: Readonly<Record<string, string | undefined>>, name: string): string {
  const value = env[name];
  if (value) return value;
  throw new CannotDo(`${name} is missing; it is an output of "azd provision".`);
}

function asAdministrator(
  shards: readonly ShardSettings[],
  env: Readonly<Record<string, string | undefined>>,
): readonly ShardSettings[] {
  const user = required(env, 'MYSQL_ADMIN_LOGIN');
  const password = secretIn(env, 'MYSQL_ADMIN_PASSWORD');
  return shards.map((shard) =>
    password ? { ...shard, user, auth: 'password', password } : { ...shard, user },
  );
}

function usersOf(env: Readonly<Record<string, string | undefined>>): readonly DatabaseUser[] {
  const login = (idName: string, passwordName: string): DatabaseUser['login'] => {
    const password = secretIn(env, passwordName);
    if (password !== undefined) return { password };
    if (secretIn(env, 'MYSQL_ADMIN_PASSWORD') === undefined) {
      return { clientId: required(env, idName) };
    }
    throw new CannotDo(
      `${passwordName} is missing: who signs in with MYSQL_ADMIN_PASSWORD can create no Entra users, only users with passwords.`,
    );
  };
  return [
    {
      role: 'app',
      name: required(env, 'MYSQL_APP_USER'),
      login: login('APP_IDENTITY_CLIENT_ID', 'APP_PASSWORD'),
    },
    {
      role: 'migrator',
      name: required(env, 'MYSQL_MIGRATOR_USER'),
      login: login('MIGRATOR_IDENTITY_CLIENT_ID', 'MIGRATOR_PASSWORD'),
    },
  ];
}

/** Prints one line for each user of each server; returns the servers that failed. */
async function createUsers(
  shards: readonly ShardSettings[],
  users: readonly DatabaseUser[],
  tokens: TokenSource,
): Promise<readonly ShardSchema[]> {
  // Not the application's database: nobody needs rights there yet.
  const servers = shards.map((shard) => ({ ...shard, database: 'information_schema' }));
  const results = await onEachShard(
    { shards: servers, concurrency: DEFAULT_CONCURRENCY, tokens },
    async (session, shard, id) => {
      for (const user of users) {
        const outcome = await ensureUser(session, user, shards[id]?.database ?? '');
        console.log(`${shard.name}: user ${user.name} ${outcome}`);
      }
      return { shard: shard.name, state: 'current' };
    },
  );
  return results.filter((result) => result.state !== 'current');
}

try {
  process.exitCode = await main(process.env);
} catch (error) {
  console.error(error instanceof CannotDo || error instanceof AppError ? error.message : error);
  process.exitCode = 2;
}
