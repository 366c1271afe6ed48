import { setGlobalErrorHandler } from '@opentelemetry/core';
import type { Clock } from '../kernel/clock.ts';

/** Has `tell` called for errors of exporters, at most once in `quietMs`. */
export function onExportError(
  quietMs: number,
  clock: Pick<Clock, 'monotonicMs'>,
  tell: (error: unknown) => void,
): void {
  let toldAtMs = Number.NEGATIVE_INFINITY;
  setGlobalErrorHandler((error) => {
    const nowMs = clock.monotonicMs();
    if (nowMs - toldAtMs < quietMs) return;
    toldAtMs = nowMs;
    tell(error);
  });
}
