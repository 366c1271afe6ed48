import type { SagaView } from '../durable/saga/view.ts';
import type { Telemetry } from '../kernel/telemetry.ts';
import { ATTRIBUTES, METRICS } from '../kernel/telemetry-names.ts';
import type { SweepReport } from './sweep-report.ts';

const A = ATTRIBUTES;

/** Tells of a state of a saga that was written down; each at least once. */
export function tellSagaState(
  telemetry: Telemetry,
  view: Pick<SagaView, 'kind' | 'status' | 'attention'>,
  way: 'saga' | 'local' = 'saga',
): void {
  if (!telemetry.enabled) return;
  const { kind, status, attention } = view;
  if (status === 'completed' || status === 'compensated') {
    const attributes = { [A.kind]: kind, [A.outcome]: status, [A.way]: way };
    telemetry.counter(METRICS.sagasEnded).add(1, attributes);
  } else if (attention) {
    telemetry.counter(METRICS.sagasAttention).add(1, { [A.kind]: kind });
  }
}

/** Tells what a run of the sweep found. */
export function tellSweep(telemetry: Telemetry, report: SweepReport): void {
  if (!telemetry.enabled) return;
  const swept = telemetry.counter(METRICS.sagasSwept);
  for (const { shard, sagas } of report.shards) {
    for (const [state, count] of Object.entries(sagas)) {
      if (count > 0) swept.add(count, { [A.shard]: shard, [A.state]: state });
    }
  }
}
