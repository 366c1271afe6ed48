import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * The programs `azd` and `az` and a managed identity, as far as they give tokens: what the identity library asks is real,
 * only the answers are ours.
 */
export interface FakeSignIn {
  /** Environment in which commands find them. */
  readonly env: Readonly<Record<string, string>>;
  /** Signs one in with this token; undefined signs out. */
  set(program: 'azd' | 'az', token: string | undefined): void;
  /** Arguments of the calls so far. */
  calls(program: 'azd' | 'az'): readonly string[];
  /** Client ids for which the managed identity was asked. */
  readonly identities: readonly string[];
  close(): Promise<void>;
}

const SIGNED_OUT = {
  azd: 'ERROR: not logged in, run `azd auth login` to login',
  az: "ERROR: Please run 'az login' to setup account.",
};

export async function startFakeSignIn(identityToken: string): Promise<FakeSignIn> {
  const folder = mkdtempSync(join(tmpdir(), 'shardline-sign-in-'));
  const identities: string[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://localhost');
    identities.push(String(url.searchParams.get('client_id')));
    const body = {
      access_token: identityToken,
      expires_on: String(Math.floor(Date.now() / 1_000) + 3_600),
      resource: url.searchParams.get('resource'),
      token_type: 'Bearer',
    };
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const logOf = (program: string): string => join(folder, `${program}.log`);
  const fake: FakeSignIn = {
    env: {
      PATH: folder,
      IDENTITY_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
      IDENTITY_HEADER: 'for-tests',
    },
    set: (program, token) => {
      const answer =
        token === undefined
          ? `echo '${SIGNED_OUT[program].replaceAll("'", `'"'"'`)}' >&2; exit 1`
          : `echo '${JSON.stringify(answerOf(token))}'`;
      const file = join(folder, program);
      writeFileSync(file, `#!/bin/sh\necho "$*" >> '${logOf(program)}'\n${answer}\n`);
      chmodSync(file, 0o755);
    },
    calls: (program) => readFileSync(logOf(program), 'utf8').trim().split('\n'),
    identities,
    close: async () => {
      rmSync(folder, { recursive: true, force: true });
      await new Promise((resolve) => server.close(resolve));
    },
  };
  for (const program of ['azd', 'az'] as const) {
    writeFileSync(logOf(program), '');
    fake.set(program, undefined);
  }
  return fake;
}

/** Both programs' answers in one: each reader takes its own fields. */
function answerOf(token: string): Record<string, unknown> {
  const at = new Date(Date.now() + 3_600_000);
  const expiresOn = at.toISOString();
  return { token, accessToken: token, expiresOn, expires_on: Math.floor(at.getTime() / 1_000) };
}
