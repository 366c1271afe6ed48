import { describe, expect, test } from 'vitest';
import {
  compareVersions,
  parseServerVersion,
  unsupportedReason,
} from '../../../../local/shards/binaries/versions.ts';

describe('the version a server prints', () => {
  test.each([
    ['mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))', 'mysql', '9.7.4'],
    ['/usr/sbin/mysqld  Ver 8.0.36-0ubuntu0.22.04.1 for Linux on x86_64', 'mysql', '8.0.36'],
    ['mysqld  Ver 8.4.3 for macos14.7 on arm64 (Homebrew)', 'mysql', '8.4.3'],
    ['mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu', 'mariadb', '10.11.14'],
    ['mysqld  Ver 11.4.2-MariaDB-ubu2404-log for Linux', 'mariadb', '11.4.2'],
  ] as const)('%s', (output, engine, version) => {
    expect(parseServerVersion(output)).toEqual({ engine, version });
  });

  test('anything else is not a server', () => {
    expect(parseServerVersion('bash: mysqld: not found')).toBeUndefined();
    expect(parseServerVersion('mysqld version unknown')).toBeUndefined();
  });
});

test('versions compare by number, not by letter', () => {
  expect(compareVersions('10.11.2', '10.6.0')).toBeGreaterThan(0);
  expect(compareVersions('8.0.9', '8.0.19')).toBeLessThan(0);
  expect(compareVersions('8.4.0', '8.4.0')).toBe(0);
});

test('servers that lack syntax the product uses are refused with the reason', () => {
  expect(unsupportedReason({ engine: 'mysql', version: '8.0.18' })).toContain('8.0.19 or newer');
  expect(unsupportedReason({ engine: 'mysql', version: '5.7.44' })).toContain('MySQL 5.7.44');
  expect(unsupportedReason({ engine: 'mariadb', version: '10.5.9' })).toContain('10.6.0 or newer');
  expect(unsupportedReason({ engine: 'mysql', version: '8.0.19' })).toBeUndefined();
  expect(unsupportedReason({ engine: 'mariadb', version: '10.6.0' })).toBeUndefined();
});
