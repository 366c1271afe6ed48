import { describe, expect, it } from 'vitest';
import { DatabaseError } from '../../../src/database/database-error.ts';
import {
  type DatabaseUser,
  ensureUser,
  userStatements,
} from '../../../tools/deploy/database-users.ts';

const APP: DatabaseUser = {
  role: 'app',
  name: 'shardline-app',
  login: { clientId: '00000000-1111-2222-3333-444444444444' },
};

describe('the database users of a deployment', () => {
  it('are created from the client id, and may do what their role needs only', () => {
    expect(userStatements(APP, 'shardline')).toEqual([
      'SET aad_auth_validate_oids_in_tenant = OFF',
      "CREATE AADUSER 'shardline-app' IDENTIFIED BY '00000000-1111-2222-3333-444444444444'",
      "GRANT PROCESS ON *.* TO 'shardline-app'@'%'",
      "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON `shardline`.* TO 'shardline-app'@'%'",
      "GRANT SELECT ON mysql.innodb_table_stats TO 'shardline-app'@'%'",
      "GRANT SELECT ON mysql.innodb_index_stats TO 'shardline-app'@'%'",
      "GRANT SELECT ON performance_schema.* TO 'shardline-app'@'%'",
      "GRANT REPLICATION CLIENT ON *.* TO 'shardline-app'@'%'",
    ]);
  });

  it('do without what maintenance would read, where the server keeps it to itself', async () => {
    const refused: string[] = [];
    const server = {
      command: (text: string) => {
        if (!/ ON (?:mysql|performance_schema)\.|^GRANT REPLICATION/.test(text))
          return Promise.resolve();
        refused.push(text);
        return Promise.reject(DatabaseError.from({ errno: 1044, code: 'X' }, 'statement'));
      },
    };
    expect(await ensureUser(server, APP, 'shardline')).toBe('created');
    expect(refused).toHaveLength(4);
  });

  it.each([
    ['a name', { ...APP, name: "x' OR '" }, 'shardline'],
    ['a client id', { ...APP, login: { clientId: 'not-a-guid' } }, 'shardline'],
    ['a database', APP, 'a`b'],
  ])('are refused with %s that could be more than that', (_, user, database) => {
    expect(() => userStatements(user, database)).toThrow(/is no/);
  });

  it('with passwords keep them as values', () => {
    const [create] = userStatements({ ...APP, login: { password: "a'b\\" } }, 'shardline');
    expect(create).toContain(String.raw`IDENTIFIED BY 'a\'b\\'`);
  });

  it('that exist are given their rights again; other refusals are passed on', async () => {
    const sent: string[] = [];
    const server = (errno: number) => ({
      command: (text: string) => {
        sent.push(text);
        if (!text.startsWith('CREATE')) return Promise.resolve();
        return Promise.reject(DatabaseError.from({ errno, code: 'X' }, 'statement'));
      },
    });
    expect(await ensureUser(server(1396), APP, 'shardline')).toBe('present');
    expect(sent).toEqual(userStatements(APP, 'shardline'));
    await expect(ensureUser(server(1227), APP, 'shardline')).rejects.toMatchObject({
      failure: 'misconfigured',
    });
  });
});
