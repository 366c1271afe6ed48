import type { LogFields, Logger, LogLevel } from '../../src/kernel/logger.ts';

export interface LoggedEvent {
  readonly level: LogLevel;
  readonly event: string;
  readonly fields: LogFields;
}

/** A logger that keeps what it is told, for tests that look at events. */
export interface RecordingLogger extends Logger {
  readonly events: LoggedEvent[];
}

export function createRecordingLogger(
  fields: LogFields = {},
  events: LoggedEvent[] = [],
): RecordingLogger {
  return {
    events,
    log: (level, event, more) => {
      events.push({ level, event, fields: { ...fields, ...more } });
    },
    with: (more) => createRecordingLogger({ ...fields, ...more }, events),
  };
}
