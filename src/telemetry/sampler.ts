import type { Context } from '@opentelemetry/api';
import {
  SamplingDecision,
  TraceIdRatioBasedSampler,
  type Sampler,
  type SamplingResult,
} from '@opentelemetry/sdk-trace';

/** Read by Application Insights, which counts each span for as many as it stands for. */
const SAMPLE_RATE = 'microsoft.sample_rate';

/**
 * Takes a share of the traces, by their id alone, so that all spans of a trace and all instances decide alike. The flag of
 * whoever called is not looked at: the host of Azure sets it for every trace or, with Application Insights' older library,
 * for none.
 */
export function createSampler(percent: number): Sampler {
  const ratio = new TraceIdRatioBasedSampler(percent / 100);
  const taken: SamplingResult = {
    decision: SamplingDecision.RECORD_AND_SAMPLED,
    attributes: { [SAMPLE_RATE]: percent },
  };
  const dropped: SamplingResult = { decision: SamplingDecision.NOT_RECORD };
  return {
    shouldSample: (within: Context, traceId: string) => {
      const { decision } = ratio.shouldSample(within, traceId);
      return decision === SamplingDecision.RECORD_AND_SAMPLED ? taken : dropped;
    },
    toString: () => `share of ${percent} %`,
  };
}
