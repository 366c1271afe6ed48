import { describe, expect, test } from 'vitest';
import {
  debianSources,
  mainArchive,
  parseDeb822Sources,
  parseOneLineSources,
  toSourceLine,
} from '../../../../local/shards/binaries/apt-sources.ts';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

describe('one-line sources', () => {
  test('options, several components and comments', () => {
    const text = `
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=${KEYRING}] http://mirror.example/debian bookworm main contrib # trailing
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
deb [trusted=yes] http://inside.example/debian bookworm main
`;
    expect(parseOneLineSources(text)).toEqual([
      {
        uri: 'http://mirror.example/debian',
        suite: 'bookworm',
        components: ['main', 'contrib'],
        signedBy: KEYRING,
        trusted: false,
      },
      {
        uri: 'http://mirror.example/debian-security',
        suite: 'bookworm-security',
        components: ['main'],
        trusted: false,
      },
      {
        uri: 'http://inside.example/debian',
        suite: 'bookworm',
        components: ['main'],
        trusted: true,
      },
    ]);
  });
});

describe('deb822 sources', () => {
  test('one source per address and suite; comments inside a stanza are skipped', () => {
    const text = `Types: deb deb-src
# a comment between fields
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: ${KEYRING}

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
`;
    expect(parseDeb822Sources(text).map(({ suite }) => suite)).toEqual([
      'bookworm',
      'bookworm-updates',
    ]);
    expect(parseDeb822Sources(text)[0]?.signedBy).toBe(KEYRING);
  });

  test('a disabled stanza is left out', () => {
    const text = 'Enabled: no\nTypes: deb\nURIs: http://a.example/\nSuites: x\nComponents: main\n';
    expect(parseDeb822Sources(text)).toEqual([]);
  });

  test('a key written into the source is not taken for a path', () => {
    const text = `Types: deb
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGMRKwcBEADB
 -----END PGP PUBLIC KEY BLOCK-----
`;
    expect(parseDeb822Sources(text)[0]).not.toHaveProperty('signedBy');
  });
});

describe("Debian's own archive among the sources", () => {
  const line = (text: string) => parseOneLineSources(text);
  const sources = [
    ...line('deb http://vendor.example bookworm main'),
    ...line('deb http://nodes.example nodistro main'),
    ...line('deb http://docker.example/linux/debian bookworm stable'),
    ...line(
      `deb [signed-by=${KEYRING}] http://mirror.example/debian-security bookworm-security main`,
    ),
    ...line(`deb [signed-by=${KEYRING}] http://mirror.example/debian bookworm main`),
  ];

  test('third parties that use its suite names are left out', () => {
    expect(debianSources(sources, 'bookworm').map(({ uri }) => uri)).toEqual([
      'http://mirror.example/debian-security',
      'http://mirror.example/debian',
    ]);
  });

  test('the main archive is the one that is neither updates nor security', () => {
    expect(mainArchive(debianSources(sources, 'bookworm'))?.uri).toBe(
      'http://mirror.example/debian',
    );
  });

  test('a mirror under an unusual path is accepted when there is no better one', () => {
    const unusual = line('deb http://cache.example/apt/deb12 bookworm main');
    expect(mainArchive(debianSources(unusual, 'bookworm'))?.uri).toContain('cache.example');
  });

  test('a source line names architecture, keyring and trust', () => {
    const [entry] = line('deb [trusted=yes] http://inside.example/debian bookworm main contrib');
    expect(entry && toSourceLine({ ...entry, suite: 'sid' }, 'arm64', KEYRING)).toBe(
      `deb [arch=arm64 signed-by=${KEYRING} trusted=yes] http://inside.example/debian sid main`,
    );
  });
});
