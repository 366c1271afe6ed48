import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCertificateAuthority } from '../support/certificates.ts';
import { createTestDatabases, type TestDatabases } from '../support/cluster.ts';
import {
  type Deployment,
  emptyDatabases,
  hookLine,
  hookLineInPath,
  provision,
  readServers,
  removeUsers,
} from '../support/deploy-world.ts';
import { type FakeSignIn, startFakeSignIn } from '../support/fake-sign-in.ts';
import { type Ended, runLine } from '../support/run-command.ts';
import { startTokenFront, type TokenFront } from '../support/token-front.ts';

const TENANT = '11111111-2222-3333-4444-555555555555';
const IDENTITIES = {
  APP_IDENTITY_CLIENT_ID: '0000000a-1111-2222-3333-444444444444',
  MIGRATOR_IDENTITY_CLIENT_ID: '0000000b-1111-2222-3333-444444444444',
};
const TOKENS = { azd: 'Secret.of.azd', az: 'Secret.of.az', identity: 'Secret.of.identity' };
const NPM_MIGRATE = 'npm run --silent migrate';

let databases: TestDatabases;
let names: Deployment;
let signIn: FakeSignIn;
let outputs: Readonly<Record<string, string>>;
const fronts: TokenFront[] = [];
/** Statements that only Azure's servers know. */
let azures: string[] = [];

/** Azure's statements in the words of a server that has no Entra sign-in: users without a password, behind the front. */
function translate(text: string): string {
  const own = text.replace(/SET aad_auth_validate_oids_in_tenant = OFF/, 'DO 0');
  const plain = own.replace(
    /CREATE AADUSER '([^']+)' IDENTIFIED BY '[^']+'/,
    "CREATE USER '$1'@'%' IDENTIFIED BY ''",
  );
  if (plain !== text) azures.push(text.replace(/^[^A-Z]*/, ''));
  return plain;
}

beforeAll(async () => {
  databases = await createTestDatabases({ shards: 2 });
  names = await provision(databases, 'id', '');
  signIn = await startFakeSignIn(TOKENS.identity);
  const authority = createCertificateAuthority();
  for (const { host, port } of databases.shards) {
    fronts.push(
      await startTokenFront({
        backend: { host, port },
        certificate: authority.issue('localhost'),
        accepts: (token) => Object.values(TOKENS).includes(token),
        translate,
      }),
    );
  }
  const shards = databases.shards.map(({ name, database }, index) => ({
    name,
    host: 'localhost',
    port: fronts[index]?.port,
    user: names.app,
    database,
    auth: 'entra',
    ssl: 'required',
    ca: authority.cert,
  }));
  outputs = {
    ...signIn.env,
    ...IDENTITIES,
    AZURE_TENANT_ID: TENANT,
    SHARDS: JSON.stringify(shards),
    MYSQL_ADMIN_LOGIN: names.admin,
    MYSQL_APP_USER: names.app,
    MYSQL_MIGRATOR_USER: names.migrator,
    MYSQL_PUBLIC_ACCESS: 'Enabled',
  };
});
afterAll(async () => {
  for (const front of fronts) await front.close();
  await signIn.close();
  await removeUsers(databases, names);
  await databases.drop();
});

/** Runs a command as a whole and makes sure that it tells no token. */
async function run(line: string, change: Readonly<Record<string, string>> = {}): Promise<Ended> {
  azures = [];
  const ended = await runLine(line, { ...outputs, ...change });
  expect(ended.stdout + ended.stderr).not.toContain('Secret');
  return ended;
}

const tokensSent = (): Set<string> => new Set(fronts.flatMap(({ tokens }) => tokens));
const linesOf = (text: string): string[] => text.trim().split('\n');

it('the hook of somebody who is not signed in says how to, and sends nothing', async () => {
  const refused = await run(hookLine('postprovision'));
  expect([refused.code, refused.stdout]).toEqual([1, '']);
  expect(refused.stderr).toContain('azd auth login');
  expect(tokensSent()).toEqual(new Set());
});

it('the hook signs in as who runs azd, and makes users of the identities', async () => {
  signIn.set('azd', TOKENS.azd);
  signIn.set('az', TOKENS.az);
  const first = await run(hookLine('postprovision'));
  expect([first.code, first.stderr]).toEqual([0, '']);
  const expected = [
    'SET aad_auth_validate_oids_in_tenant = OFF',
    `CREATE AADUSER '${names.app}' IDENTIFIED BY '${IDENTITIES.APP_IDENTITY_CLIENT_ID}'`,
    'SET aad_auth_validate_oids_in_tenant = OFF',
    `CREATE AADUSER '${names.migrator}' IDENTIFIED BY '${IDENTITIES.MIGRATOR_IDENTITY_CLIENT_ID}'`,
  ];
  expect(azures.toSorted()).toEqual([...expected, ...expected].toSorted());
  expect(first.stdout).toContain(`shard-1: user ${names.app} created`);
  expect(first.stdout).toContain('shard-1: applied: ');
  expect(tokensSent()).toEqual(new Set([TOKENS.azd]));
  expect(signIn.calls('azd').at(-1)).toBe(
    `auth token --output json --no-prompt --scope https://ossrdbms-aad.database.windows.net/.default --tenant-id ${TENANT}`,
  );
  // A machine's own identity is nobody on the servers.
  expect(signIn.identities).toEqual([]);
});

it('a repeat, by somebody who is signed in to az alone, changes nothing', async () => {
  const made = await readServers(databases, names);
  expect(made.map(({ grants, schema }) => grants.length > 0 && schema.length > 0)).toEqual([
    true,
    true,
  ]);
  signIn.set('azd', undefined);
  const again = await run(hookLine('postprovision'));
  expect([again.code, again.stderr]).toEqual([0, '']);
  expect(again.stdout).not.toContain('created');
  expect(linesOf(again.stdout).slice(-2)).toEqual(['shard-0: current', 'shard-1: current']);
  expect(await readServers(databases, names)).toEqual(made);
  expect(tokensSent()).toEqual(new Set([TOKENS.azd, TOKENS.az]));
});

it('a user whose password is given gets that one, whoever runs the hook', async () => {
  const password = `app'Secret-of-17 letters`;
  // What azd makes of a secret that it does not have.
  const unset = {
    MIGRATOR_PASSWORD: 'MIGRATOR_PASSWORD',
    MYSQL_ADMIN_PASSWORD: 'MYSQL_ADMIN_PASSWORD',
  };
  const done = await run(hookLine('postprovision'), { ...unset, APP_PASSWORD: password });
  expect([done.code, done.stderr]).toEqual([0, '']);
  expect(azures.filter((text) => text.startsWith('CREATE'))).toEqual(
    Array.from({ length: 2 }, () => expect.stringContaining(`AADUSER '${names.migrator}'`)),
  );
  for (const { host, port, database } of databases.shards) {
    const connection = await createConnection({ host, port, database, user: names.app, password });
    await connection.end();
  }
});

it('npm run migrate signs in as the identity of the migrator', async () => {
  await emptyDatabases(databases);
  const done = await run(NPM_MIGRATE, {
    MIGRATE_USER: names.migrator,
    MIGRATE_CLIENT_ID: IDENTITIES.MIGRATOR_IDENTITY_CLIENT_ID,
  });
  expect(done.code).toBe(0);
  expect(linesOf(done.stdout).map((line) => line.slice(0, 'shard-0: applied'.length))).toEqual([
    'shard-0: applied',
    'shard-1: applied',
  ]);
  expect(new Set(signIn.identities)).toEqual(new Set([IDENTITIES.MIGRATOR_IDENTITY_CLIENT_ID]));
  expect(tokensSent()).toContain(TOKENS.identity);
});

it('what is set wrong is refused with its name, and changes nothing', async () => {
  const before = await readServers(databases, names);
  signIn.set('azd', 'Secret.of.a.stranger');
  const hook = (change: Readonly<Record<string, string>>): Promise<Ended> =>
    run(hookLineInPath('postprovision'), change);
  const cases: readonly (readonly [Promise<Ended>, string])[] = [
    [hook({}), 'shard-1: refused: The shard refuses this application: user, password'],
    [hook({ SHARDS: '[{"password":"Secret' }), 'SHARDS: is not JSON'],
    [hook({ MYSQL_MIGRATOR_USER: "x' OR '" }), 'is no name for a database user'],
    [hook({ MIGRATOR_IDENTITY_CLIENT_ID: '' }), 'MIGRATOR_IDENTITY_CLIENT_ID is missing'],
    [hook({ MYSQL_ADMIN_PASSWORD: 'Secret' }), 'APP_PASSWORD is missing: who signs in with'],
    [hook({ APP_PASSWORD: 'akvs://a/Vault/b' }), 'APP_PASSWORD is a reference to a secret'],
    [run(`${NPM_MIGRATE} -- --concurrency 0`), 'a whole number from 1 to 32'],
  ];
  for (const [ended, expected] of cases) {
    const { code, stdout, stderr } = await ended;
    expect([code, stdout + stderr]).toEqual([2, expect.stringContaining(expected)]);
  }
  expect(await readServers(databases, names)).toEqual(before);
});

it('the hook before provisioning refuses with the arithmetic, and lets through what fits', async () => {
  const [fits, refused, unread] = await Promise.all([
    run(hookLine('preprovision'), { PROFILE: 'dev', SHARD_COUNT: '3' }),
    run(hookLineInPath('preprovision'), { PROFILE: 'dev', MAX_INSTANCES: '100' }),
    run(hookLineInPath('preprovision'), { APP_PASSWORD: 'akvs://a/Vault/b' }),
  ]);
  expect([fits.code, fits.stderr]).toEqual([0, '']);
  expect([refused.code, refused.stdout]).toEqual([1, '']);
  expect(refused.stderr).toMatch(/^Connections: .*\n.*azd env set NAME VALUE\n$/);
  expect([unread.code, unread.stdout]).toEqual([1, '']);
  expect(unread.stderr).toContain('APP_PASSWORD is a reference to a secret');
});
