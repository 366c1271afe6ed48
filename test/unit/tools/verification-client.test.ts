import { describe, expect, test } from 'vitest';
import { startOrJoin, waitForEnd, type ClientOptions } from '../../../tools/verification-client.ts';
import { CannotDo } from '../../../tools/app-client.ts';

const ID = '00000000-0000-4000-8000-000000000000';

interface Sent {
  readonly method: string;
  readonly url: string;
  readonly key: string | undefined;
}

/** Answers requests in order: a status with a body, or nothing at all. */
function client(answers: readonly (readonly [number, unknown] | 'away')[], key?: string) {
  const sent: Sent[] = [];
  let nowMs = 0;
  const options: ClientOptions = {
    url: 'http://app.test/',
    key,
    now: () => nowMs,
    sleep: (ms) => {
      nowMs += ms;
      return Promise.resolve();
    },
    fetch: (url, init) => {
      const headers = init.headers as Record<string, string>;
      sent.push({ method: init.method ?? '', url, key: headers['x-functions-key'] });
      const answer = answers[sent.length - 1] ?? 'away';
      if (answer === 'away') return Promise.reject(new TypeError('fetch failed'));
      const [status, body] = answer;
      return Promise.resolve(new Response(JSON.stringify(body), { status }));
    },
  };
  return { options, sent };
}

const state = (status: string, chunksDone = 0) => ({
  verificationId: ID,
  status,
  ok: false,
  progress: { chunksDone, chunks: 4 },
  checks: [],
  startedAt: '2026-01-01T00:00:00.000Z',
  finishedAt: null,
});

describe('to begin', () => {
  test('a verification is started, with the key', async () => {
    const { options, sent } = client([[202, { verificationId: ID, statusUrl: '' }]], 'secret');
    expect(await startOrJoin(options)).toEqual({ verificationId: ID, joined: false });
    expect(sent).toEqual([
      { method: 'POST', url: 'http://app.test/api/ops/verifications', key: 'secret' },
    ]);
  });

  test('the one that runs already is joined', async () => {
    const { options, sent } = client([
      [409, { detail: 'runs' }],
      [200, state('running')],
    ]);
    expect(await startOrJoin(options)).toEqual({ verificationId: ID, joined: true });
    expect(sent[1]?.url).toBe('http://app.test/api/ops/verifications/latest');
  });

  test.each([
    ['away', /Nothing answers at http:\/\/app\.test\/.*--url/],
    [[401, {}], /--key or SHARDLINE_ADMIN_KEY/],
    [[404, {}], /is this the Shardline app/],
    [[503, { detail: 'storage is away' }], /503: storage is away/],
  ] as const)('%j says what to do', async (answer, message) => {
    const failed = startOrJoin(client([answer]).options);
    await expect(failed).rejects.toThrow(CannotDo);
    await expect(failed).rejects.toThrow(message);
  });

  test('a key that is not taken is told apart from none', async () => {
    await expect(startOrJoin(client([[401, {}]], 'wrong').options)).rejects.toThrow(/this key/);
  });
});

describe('to wait', () => {
  const wait = (timeoutMs: number) => {
    const seen: number[] = [];
    return {
      seen,
      wait: {
        verificationId: ID,
        timeoutMs,
        onProgress: (progress: { chunksDone: number }) => seen.push(progress.chunksDone),
      },
    };
  };

  test('the app may be away for a while, and the end is told', async () => {
    const answers = [
      [200, state('running', 1)],
      'away',
      [503, { detail: 'busy' }],
      [200, state('running', 3)],
      [200, state('completed', 4)],
    ] as const;
    const own = wait(60_000);
    const result = await waitForEnd(client(answers).options, own.wait);
    expect(result.status).toBe('completed');
    expect(own.seen).toEqual([1, 3]);
  });

  test('it ends when the time is up, and says how to go on', async () => {
    const answers = Array.from({ length: 10 }, () => [200, state('running')] as const);
    const waited = waitForEnd(client(answers).options, wait(2_000).wait);
    await expect(waited).rejects.toThrow(/not through after 2 s.*--timeout/);
  });

  test('a verification that is gone is not waited for', async () => {
    const waited = waitForEnd(client([[404, {}]]).options, wait(60_000).wait);
    await expect(waited).rejects.toThrow(CannotDo);
  });
});
