import { expect } from 'vitest';
import { verificationSchema, type Verification } from '../../src/verification/model.ts';
import type { TestApp } from './app.ts';
import { until } from './http.ts';

export type VerificationResult = Verification;

/** Runs the invariant checker of a running app over all shards and waits for its end. */
export async function verifyCluster(
  app: Pick<TestApp, 'http'>,
  options: { readonly timeoutMs?: number; readonly key?: string } = {},
): Promise<VerificationResult> {
  const headers: Record<string, string> =
    options.key === undefined ? {} : { 'x-functions-key': options.key };
  const accepted = await app.http.post('/api/ops/verifications', {}, headers);
  if (accepted.status !== 202) {
    throw new Error(`no verification was started: ${accepted.status} ${accepted.text}`);
  }
  const url = String(accepted.json['statusUrl']);
  const last = await until(
    () => app.http.get(url, headers),
    (reply) => reply.status !== 200 || reply.json['status'] !== 'running',
    { timeoutMs: options.timeoutMs ?? 120_000, everyMs: 250 },
  );
  return verificationSchema.parse(last.json);
}

/** Prints the figures and fails with the violations, or with what could not be checked. */
export function expectGreen(result: VerificationResult): void {
  const figures = Object.entries(result.figures ?? {}).map(([name, value]) => `${name} ${value}`);
  console.log(`verification ${result.status}: ${figures.join(', ')}`);
  const found = result.checks.flatMap(({ examples }) =>
    examples.map(({ check, problem, subject, detail }) =>
      [check, problem, subject, detail].filter((part) => part !== undefined).join(' '),
    ),
  );
  expect(result.failure).toBeUndefined();
  expect(found).toEqual([]);
  expect({ status: result.status, ok: result.ok }).toEqual({ status: 'completed', ok: true });
}
