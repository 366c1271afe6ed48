/** One request of an `.http` file, with its variables still in place. */
export interface ExampleRequest {
  readonly title: string;
  /** From `# @name`; later requests refer to its answer. */
  readonly name: string | undefined;
  /** From `# @expect`. */
  readonly expected: { readonly status: number; readonly code: string | undefined };
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** Reads the part of the `.http` format that the examples use. Throws for a request without `# @expect`. */
export function parseHttpFile(text: string): ExampleRequest[] {
  const [, ...sections] = text.split(/^###/m);
  return sections.map(parseSection);
}

function parseSection(section: string): ExampleRequest {
  const [title = '', ...lines] = section.split('\n');
  const start = lines.findIndex((line) => line !== '' && !line.startsWith('#'));
  const comments = lines.slice(0, start).join('\n');
  const [requestLine = '', ...rest] = lines.slice(start);
  const end = rest.indexOf('');
  const headerLines = end === -1 ? rest : rest.slice(0, end);
  const body =
    end === -1
      ? ''
      : rest
          .slice(end + 1)
          .join('\n')
          .trim();
  const [method = '', url = ''] = requestLine.split(' ');
  const expected = /^# @expect (\d{3})(?: (\S+))?$/m.exec(comments);
  if (expected === null) throw new Error(`the example "${title.trim()}" expects nothing`);
  return {
    title: title.trim(),
    name: /^# @name (\w+)$/m.exec(comments)?.[1],
    expected: { status: Number(expected[1]), code: expected[2] },
    method,
    url,
    headers: Object.fromEntries(headerLines.filter((line) => line !== '').map(headerOf)),
    body: body === '' ? undefined : body,
  };
}

function headerOf(line: string): readonly [string, string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
}

/** Fills in `{{host}}` and `{{name.response.body.$.field}}`. Throws for an unknown variable. */
export function fillIn(
  text: string,
  host: string,
  answers: ReadonlyMap<string, Readonly<Record<string, unknown>>>,
): string {
  return text.replaceAll(/\{\{([^}]+)\}\}/g, (_, variable: string) => {
    if (variable === 'host') return host;
    const [, name = '', field = ''] = /^(\w+)\.response\.body\.\$\.(\w+)$/.exec(variable) ?? [];
    const value = answers.get(name)?.[field];
    if (typeof value !== 'string') throw new Error(`there is no value for {{${variable}}}`);
    return value;
  });
}
