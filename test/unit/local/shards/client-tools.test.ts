import { expect, test } from 'vitest';
import { parseClientVersion } from '../../../../local/shards/binaries/client-tools.ts';

test.each([
  ['mysqldump  Ver 9.7.4 for Linux on x86_64 (Debian 9.7.4-2)', 'mysql', '9.7.4'],
  [
    'mysqldump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)',
    'mariadb',
    '10.11.19',
  ],
  [
    'mariadb-dump from 11.8.9-MariaDB, client 10.19 for debian-linux-gnu (x86_64)',
    'mariadb',
    '11.8.9',
  ],
  ['something else', 'mysql', '0.0.0'],
])('reads %s', (output, engine, version) => {
  expect(parseClientVersion(output)).toEqual({ engine, version });
});
