import { ROOT_CONTEXT, trace, TraceFlags } from '@opentelemetry/api';
import { SamplingDecision } from '@opentelemetry/sdk-trace';
import { expect, test } from 'vitest';
import { createSampler } from '../../../src/telemetry/sampler.ts';
import { createRandom } from '../../support/random.ts';

const below = (traceId: string, traceFlags: TraceFlags) =>
  trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId: '00f067aa0ba902b7', traceFlags });

const isTaken = (
  sampler: ReturnType<typeof createSampler>,
  traceId: string,
  flags?: TraceFlags,
) => {
  const within = flags === undefined ? ROOT_CONTEXT : below(traceId, flags);
  const { decision } = sampler.shouldSample(within, traceId, 'x', 0, {}, []);
  return decision === SamplingDecision.RECORD_AND_SAMPLED;
};

test('two samplers take the same share of traces, whatever the caller says', () => {
  const random = createRandom();
  const [one, other] = [createSampler(25), createSampler(25)];
  let taken = 0;
  for (let n = 0; n < 4_000; n++) {
    const traceId = Array.from({ length: 32 }, () => random.below(16).toString(16)).join('');
    const isRoot = isTaken(one, traceId);
    expect(isTaken(other, traceId, TraceFlags.SAMPLED)).toBe(isRoot);
    expect(isTaken(other, traceId, TraceFlags.NONE)).toBe(isRoot);
    taken += isRoot ? 1 : 0;
  }
  expect(taken).toBeGreaterThan(800);
  expect(taken).toBeLessThan(1_200);
});

test('0 and 100 % are none and all, whatever the caller says', () => {
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  for (const flags of [undefined, TraceFlags.NONE, TraceFlags.SAMPLED]) {
    expect(isTaken(createSampler(100), traceId, flags)).toBe(true);
    expect(isTaken(createSampler(0), traceId, flags)).toBe(false);
  }
});
