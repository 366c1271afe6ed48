/**
 * Progress of a long step: one line that is rewritten on a terminal, a plain line every few seconds
 * elsewhere (logs, CI), each with rate and time left.
 */
export interface ProgressLine {
  /** Say how far it is; drawn at most a few times a second. */
  update(done: number): void;
  /** Ends the line with what was done and how fast. */
  finish(done: number): void;
}

export interface ProgressOptions {
  readonly label: string;
  readonly total: number;
  readonly unit: string;
  readonly stream?: NodeJS.WriteStream;
}

const TERMINAL_INTERVAL_MS = 120;
const PLAIN_INTERVAL_MS = 3_000;
const BAR_WIDTH = 24;

export function startProgress(options: ProgressOptions): ProgressLine {
  const stream = options.stream ?? process.stdout;
  const started = performance.now();
  const interval = stream.isTTY ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS;
  let drawnAt = Number.NEGATIVE_INFINITY;
  const write = (text: string, last: boolean): void => {
    if (stream.isTTY) stream.write(`\r\u001b[2K${text}${last ? '\n' : ''}`);
    else stream.write(`${text}\n`);
  };
  return {
    update: (done) => {
      const now = performance.now();
      if (now - drawnAt < interval) return;
      drawnAt = now;
      write(describeProgress(options, done, (now - started) / 1000), false);
    },
    finish: (done) => {
      const seconds = (performance.now() - started) / 1000;
      const rate = done / Math.max(seconds, 0.001);
      write(
        `  ${options.label}: ${count(done)} ${options.unit} in ${seconds.toFixed(1)} s (${count(Math.round(rate))}/s)`,
        true,
      );
    },
  };
}

/** The line while work goes on; pure. */
export function describeProgress(
  options: Pick<ProgressOptions, 'label' | 'total' | 'unit'>,
  done: number,
  seconds: number,
): string {
  const share = options.total === 0 ? 1 : Math.min(1, done / options.total);
  const filled = Math.round(share * BAR_WIDTH);
  const bar = '█'.repeat(filled) + '·'.repeat(BAR_WIDTH - filled);
  const rate = seconds > 0 ? done / seconds : 0;
  const left = rate > 0 ? `${Math.ceil((options.total - done) / rate)} s left` : 'waiting';
  const percent = Math.floor(share * 100);
  return `  ${options.label} ${bar} ${percent} %  ${count(done)}/${count(options.total)} ${options.unit}  ${count(Math.round(rate))}/s  ${left}`;
}

function count(value: number): string {
  return value.toLocaleString('en-US').replaceAll(',', ' ');
}
