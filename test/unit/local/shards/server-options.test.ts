import { describe, expect, test } from 'vitest';
import type { ServerBinary } from '../../../../local/shards/binaries/server-binary.ts';
import {
  accountStatements,
  serverArguments,
} from '../../../../local/shards/servers/server-options.ts';

function argumentsOf(engine: 'mysql' | 'mariadb', fast: boolean): string[] {
  const binary: ServerBinary = {
    engine,
    version: '8.4.0',
    program: '/x/mysqld',
    command: ['/x/mysqld'],
    locationArgs: [],
    shareDirs: [],
    environment: {},
  };
  const place = { dataDir: '/d/data', initFile: '/d/accounts.sql', port: 21_000, serverId: 2 };
  return serverArguments({ binary, fast, ...place });
}

describe.each(['mysql', 'mariadb'] as const)('%s', (engine) => {
  test('reads no configuration of the machine and listens on loopback only', () => {
    const args = argumentsOf(engine, false);
    // The programs accept --no-defaults only in first place.
    expect(args[0]).toBe('--no-defaults');
    expect(args).toContain('--bind-address=127.0.0.1');
  });

  test('by default a commit is on disk, in redo log and binary log, when it is answered', () => {
    const args = argumentsOf(engine, false);
    expect(args).toContain('--innodb-flush-log-at-trx-commit=1');
    expect(args).toContain('--sync-binlog=1');
    expect(args).toContain('--log-bin=binlog');
    expect(args).toContain('--server-id=2');
  });

  test('fast mode still hands each commit to the operating system', () => {
    const args = argumentsOf(engine, true);
    expect(args).toContain('--innodb-flush-log-at-trx-commit=2');
    expect(args).toContain('--skip-log-bin');
    // A server that is killed while it writes a page must find its copy.
    expect(args.join(' ')).not.toMatch(/doublewrite/);
  });

  test('only fast mode does without waiting for the disk', () => {
    expect(argumentsOf(engine, true)).toContain('--innodb-flush-method=nosync');
    expect(argumentsOf(engine, false).join(' ')).not.toMatch(/no-?sync/);
  });
});

test("the application's user owns its database and may look at, not change, anything else", () => {
  const grants = accountStatements({ password: 'p', adminPassword: 'a' }).filter(
    (statement) => statement.startsWith('GRANT') && statement.includes("TO 'shardline'"),
  );
  const [onDatabase, elsewhere] = [
    grants.filter((grant) => grant.includes('ON shardline.*')),
    grants.filter((grant) => !grant.includes('ON shardline.*')),
  ];
  expect(onDatabase).toHaveLength(1);
  for (const grant of elsewhere)
    expect(grant).toMatch(/^GRANT (PROCESS|SELECT|SELECT, EXECUTE) ON/);
});

test.each(['mysql', 'mariadb'] as const)(
  'no %s server shares its folder of temporary tables, which a starting one would empty',
  (engine) => {
    expect(argumentsOf(engine, false)).toContain('--tmpdir=/d/tmp');
  },
);
