export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/**
 * Fields of one log event. Names are fixed (STYLE 4): `traceId`, `requestId`, `invocationId`,
 * `functionName`, `instanceId`, `orderId`, `bucketId`, `shardId`, `epoch`, `sagaStep`, `attempt`,
 * `durationMs`, `rows`, `errorCode`, `errorRetryable`. No secrets, no personal data.
 */
export type LogFields = Readonly<Record<string, unknown>>;

/** One JSON object per event; `event` is `slice.past_tense` and constant, data goes into fields. */
export interface Logger {
  log(level: LogLevel, event: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each event. */
  with(fields: LogFields): Logger;
}

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

export interface JsonLoggerOptions {
  readonly minimum: LogLevel;
  readonly write: (line: string) => void;
  readonly nowMs: () => number;
  readonly fields?: LogFields;
}

export function createJsonLogger(options: JsonLoggerOptions): Logger {
  return {
    log: (level, event, fields) => {
      if (RANK[level] < RANK[options.minimum]) return;
      const time = new Date(options.nowMs()).toISOString();
      options.write(JSON.stringify({ time, level, event, ...options.fields, ...fields }));
    },
    with: (fields) => createJsonLogger({ ...options, fields: { ...options.fields, ...fields } }),
  };
}

/** The fields that describe an error: class and code for queries, message and stack for people. */
export function errorFields(error: unknown): LogFields {
  if (!(error instanceof Error)) return { errorMessage: String(error) };
  const known = error as { code?: unknown; retryable?: unknown; details?: unknown };
  return {
    errorName: error.name,
    errorCode: known.code,
    errorRetryable: known.retryable,
    errorDetails: known.details,
    errorMessage: error.message,
    errorCause: error.cause instanceof Error ? error.cause.message : undefined,
    errorStack: error.stack,
  };
}
