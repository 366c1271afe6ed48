/**
 * Reads the machine's own apt sources, so that servers are fetched from the mirror its owner chose.
 * Pure: text in, data out. Formats: sources.list(5), one-line and deb822.
 */

export interface AptSource {
  readonly uri: string;
  readonly suite: string;
  readonly components: readonly string[];
  /** Path of a keyring; absent when the key is written into the source itself. */
  readonly signedBy?: string;
  /** The owner switched signature checks off for this source. */
  readonly trusted: boolean;
}

/** The sources of a `*.list` file. Lines that are not binary-package sources are left out. */
export function parseOneLineSources(text: string): AptSource[] {
  return text.split('\n').flatMap((raw) => {
    const line = raw.replace(/#.*/, '').trim();
    const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*(.*)$/.exec(line);
    if (match === null) return [];
    const [, optionText = '', uri = '', suite = '', components = ''] = match;
    const options = new Map(
      words(optionText).map((option): [string, string] => {
        const [name = '', ...value] = option.split('=');
        return [name.toLowerCase(), value.join('=')];
      }),
    );
    return [
      source(uri, suite, words(components), options.get('signed-by'), options.get('trusted')),
    ];
  });
}

/** The sources of a `*.sources` file, one per URI and suite. Disabled stanzas are left out. */
export function parseDeb822Sources(text: string): AptSource[] {
  return text.split(/\n(?:[ \t]*\n)+/).flatMap((stanza) => {
    const fields = parseStanza(stanza);
    if (fields.get('enabled')?.toLowerCase() === 'no') return [];
    if (!words(fields.get('types') ?? '').includes('deb')) return [];
    const components = words(fields.get('components') ?? '');
    return words(fields.get('uris') ?? '').flatMap((uri) =>
      words(fields.get('suites') ?? '').map((suite) =>
        source(uri, suite, components, fields.get('signed-by'), fields.get('trusted')),
      ),
    );
  });
}

/** The sources that are Debian's own archive for the release `codename`, most trustworthy first. */
export function debianSources(sources: readonly AptSource[], codename: string): AptSource[] {
  const names = [codename, 'stable', 'oldstable', 'testing', 'unstable', 'sid'];
  const candidates = sources.filter(({ suite, components, uri }) => {
    const base = suite.replace(/(-updates|-security|\/updates)$/, '');
    return names.includes(base) && components.includes('main') && !uri.startsWith('cdrom:');
  });
  const likely = candidates.filter((candidate) => likelihood(candidate) > 0);
  return (likely.length > 0 ? likely : candidates).toSorted(
    (left, right) => likelihood(right) - likelihood(left),
  );
}

/** The source that serves the whole archive (not updates or security), other suites of it included. */
export function mainArchive(debian: readonly AptSource[]): AptSource | undefined {
  return debian.find(({ suite }) => !/(-updates|-security|\/updates)$/.test(suite));
}

/** One line of a private `sources.list`. `keyring` replaces the source's own. */
export function toSourceLine(entry: AptSource, architecture: string, keyring?: string): string {
  const signedBy = keyring ?? entry.signedBy;
  const options = [
    `arch=${architecture}`,
    ...(signedBy === undefined ? [] : [`signed-by=${signedBy}`]),
    ...(entry.trusted ? ['trusted=yes'] : []),
  ];
  return `deb [${options.join(' ')}] ${entry.uri} ${entry.suite} main`;
}

/** Third parties use Debian's suite names too; the archive gives itself away by keyring and path. */
function likelihood({ uri, signedBy }: AptSource): number {
  const byKeyring = signedBy?.includes('debian-archive') === true ? 2 : 0;
  return byKeyring + (/\/debian(-security)?\/?$/.test(uri) ? 1 : 0);
}

function source(
  uri: string,
  suite: string,
  components: readonly string[],
  signedBy: string | undefined,
  trusted: string | undefined,
): AptSource {
  const keyring = signedBy?.startsWith('/') === true ? words(signedBy)[0] : undefined;
  return {
    uri,
    suite,
    components,
    ...(keyring === undefined ? {} : { signedBy: keyring }),
    trusted: trusted?.toLowerCase() === 'yes',
  };
}

function parseStanza(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  let name = '';
  for (const line of stanza.split('\n')) {
    if (line.startsWith('#')) continue;
    const match = /^([A-Za-z0-9-]+):\s*(.*)$/.exec(line);
    if (match !== null) {
      name = (match[1] ?? '').toLowerCase();
      fields.set(name, (match[2] ?? '').trim());
    } else if (/^\s/.test(line) && name !== '') {
      fields.set(name, `${fields.get(name) ?? ''} ${line.trim()}`.trim());
    }
  }
  return fields;
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}
