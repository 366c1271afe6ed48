/** What a long operation reports while it works. */
export type ProgressEvent =
  | { readonly kind: 'step'; readonly message: string }
  | {
      readonly kind: 'transfer';
      readonly label: string;
      readonly doneBytes: number;
      /** Absent while the size is not known yet. */
      readonly totalBytes?: number;
    };

export type OnProgress = (event: ProgressEvent) => void;

/** Where progress is printed: a terminal gets one line that is rewritten, anything else plain lines. */
export interface ProgressTarget {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const MEGABYTE = 1_000_000;
/** Some terminals do not know their width, or call it 0. */
const DEFAULT_COLUMNS = 80;
const LIVE_INTERVAL_MS = 100;
const PLAIN_INTERVAL_MS = 5_000;

/** `12.3 of 59.8 MB, 8.1 MB/s, 6 s left`; rate and remainder appear as soon as they are known. */
export function describeTransfer(
  doneBytes: number,
  totalBytes: number | undefined,
  elapsedMs: number,
): string {
  const megabytes = (bytes: number): string => (bytes / MEGABYTE).toFixed(1);
  const amount =
    totalBytes === undefined
      ? `${megabytes(doneBytes)} MB`
      : `${megabytes(doneBytes)} of ${megabytes(totalBytes)} MB`;
  if (elapsedMs < 500 || doneBytes === 0) return amount;
  const bytesPerMs = doneBytes / elapsedMs;
  const rate = `${megabytes(bytesPerMs * 1000)} MB/s`;
  if (totalBytes === undefined) return `${amount}, ${rate}`;
  const secondsLeft = Math.ceil(Math.max(0, totalBytes - doneBytes) / bytesPerMs / 1000);
  return `${amount}, ${rate}, ${secondsLeft} s left`;
}

/** Prints progress to a terminal or a plain log. `now` is in milliseconds. */
export function createProgressPrinter(
  target: ProgressTarget,
  now: () => number = () => performance.now(),
): OnProgress {
  const live = target.isTTY === true;
  let transfer: { label: string; startedAt: number; printedAt: number } | undefined;
  let openLine = false;

  const line = (text: string): void => {
    const fitted = text.slice(0, (target.columns || DEFAULT_COLUMNS) - 1);
    target.write(live ? `\r\u001b[K${fitted}` : `${text}\n`);
    openLine = live;
  };

  return (event) => {
    if (event.kind === 'step') {
      transfer = undefined;
      target.write(`${openLine ? '\r\u001b[K' : ''}${event.message}\n`);
      openLine = false;
      return;
    }
    if (transfer?.label !== event.label) {
      transfer = { label: event.label, startedAt: now(), printedAt: -Infinity };
    }
    const complete = event.totalBytes !== undefined && event.doneBytes >= event.totalBytes;
    const interval = live ? LIVE_INTERVAL_MS : PLAIN_INTERVAL_MS;
    if (now() - transfer.printedAt < interval && !complete) return;
    const elapsedMs = now() - transfer.startedAt;
    line(`  ${event.label}: ${describeTransfer(event.doneBytes, event.totalBytes, elapsedMs)}`);
    transfer.printedAt = now();
  };
}
