import { trace, TraceFlags, type Context } from '@opentelemetry/api';
import {
  SamplingDecision,
  TraceIdRatioBasedSampler,
  type Sampler,
  type SamplingResult,
} from '@opentelemetry/sdk-trace';

/** Read by Application Insights, which counts each span for as many as it stands for. */
const SAMPLE_RATE = 'microsoft.sample_rate';

/**
 * Takes a share of the traces, by their id, so that all instances keep the same ones. A caller that did not sample is
 * followed; one that did is not, because the host of Azure marks every trace as sampled.
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
      const parent = trace.getSpanContext(within);
      if (parent !== undefined && (parent.traceFlags & TraceFlags.SAMPLED) === 0) return dropped;
      const { decision } = ratio.shouldSample(within, traceId);
      return decision === SamplingDecision.RECORD_AND_SAMPLED ? taken : dropped;
    },
    toString: () => `share of ${percent} %`,
  };
}
