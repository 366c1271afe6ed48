/** One field of an NCRONTAB expression: which values match. */
type Field = ReadonlySet<number>;

/** A parsed NCRONTAB expression; a time matches when all six fields do. */
export interface NCrontab {
  readonly seconds: Field;
  readonly minutes: Field;
  readonly hours: Field;
  readonly days: Field;
  /** 1 to 12. */
  readonly months: Field;
  /** 0 is Sunday. */
  readonly weekdays: Field;
}

interface FieldRange {
  readonly label: string;
  readonly min: number;
  readonly max: number;
  readonly names?: readonly string[];
}

const MONTHS = [
  'january',
  'february',
  'march',
  'april',
  'may',
  'june',
  'july',
  'august',
  'september',
  'october',
  'november',
  'december',
];
const WEEKDAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];

const RANGES = {
  seconds: { label: 'second', min: 0, max: 59 },
  minutes: { label: 'minute', min: 0, max: 59 },
  hours: { label: 'hour', min: 0, max: 23 },
  days: { label: 'day', min: 1, max: 31 },
  months: { label: 'month', min: 1, max: 12, names: MONTHS },
  weekdays: { label: 'day of week', min: 0, max: 6, names: WEEKDAYS },
} as const satisfies Record<string, FieldRange>;

function parseValue(text: string, range: FieldRange): number {
  const lower = text.toLowerCase();
  if (/^\d+$/.test(lower)) {
    const value = Number(lower);
    if (value >= range.min && value <= range.max) return value;
    throw new Error(`the ${range.label} "${text}" is not within ${range.min}-${range.max}`);
  }
  const index = lower.length < 3 ? -1 : (range.names ?? []).findIndex((n) => n.startsWith(lower));
  if (index < 0) throw new Error(`"${text}" is not a ${range.label}`);
  return index + range.min;
}

/** `*`, `5`, `5/10` (from 5 on), `1-5`, `1-5/2`, and `5-1`, whose ends NCrontab swaps. */
function parseItem(item: string, range: FieldRange): number[] {
  const [body = '', stepText, ...more] = item.split('/');
  if (more.length > 0 || (stepText !== undefined && !/^\d+$/.test(stepText))) {
    throw new Error(`"${item}" is not a valid ${range.label} field`);
  }
  const step = Math.max(1, Number(stepText ?? 1));
  let [from, to]: [number, number] = [range.min, range.max];
  const dash = body.indexOf('-');
  if (dash > 0) {
    const ends = [parseValue(body.slice(0, dash), range), parseValue(body.slice(dash + 1), range)];
    [from, to] = [Math.min(...ends), Math.max(...ends)];
  } else if (body !== '*') {
    from = parseValue(body, range);
    to = step === 1 ? from : range.max;
  }
  const values: number[] = [];
  for (let value = from; value <= to; value += step) values.push(value);
  return values;
}

function parseField(text: string, range: FieldRange): Field {
  return new Set(text.split(',').flatMap((item) => parseItem(item, range)));
}

/**
 * Parses `{second} {minute} {hour} {day} {month} {day of week}`, or five fields without seconds.
 * Day of month and day of week must both match, unlike in Vixie cron. Throws a plain `Error` that
 * says which field is wrong.
 */
export function parseNCrontab(expression: string): NCrontab {
  const fields = expression.trim().split(/\s+/);
  if (fields.length === 5) fields.unshift('0');
  const [seconds, minutes, hours, days, months, weekdays, ...more] = fields;
  if (weekdays === undefined || more.length > 0) {
    throw new Error(`it must have 5 or 6 fields, but has ${expression.trim().split(/\s+/).length}`);
  }
  return {
    seconds: parseField(seconds ?? '', RANGES.seconds),
    minutes: parseField(minutes ?? '', RANGES.minutes),
    hours: parseField(hours ?? '', RANGES.hours),
    days: parseField(days ?? '', RANGES.days),
    months: parseField(months ?? '', RANGES.months),
    weekdays: parseField(weekdays, RANGES.weekdays),
  };
}

/** Leap years make a date such as "Monday, 29 February" recur within 40 years at the latest. */
const SEARCH_DAYS = 41 * 366;
const DAY_MS = 86_400_000;

function smallestFrom(field: Field, from: number): number | undefined {
  let best: number | undefined;
  for (const value of field) {
    if (value >= from && (best === undefined || value < best)) best = value;
  }
  return best;
}

/** The first matching second of a day at or after `from` (seconds since midnight). */
function timeOfDay(cron: NCrontab, from: number): number | undefined {
  for (const hour of [...cron.hours].toSorted((a, b) => a - b)) {
    if (hour * 3600 + 3599 < from) continue;
    for (const minute of [...cron.minutes].toSorted((a, b) => a - b)) {
      const start = hour * 3600 + minute * 60;
      if (start + 59 < from) continue;
      const second = smallestFrom(cron.seconds, Math.max(0, from - start));
      if (second !== undefined) return start + second;
    }
  }
  return undefined;
}

function dayMatches(cron: NCrontab, day: Date): boolean {
  return (
    cron.months.has(day.getUTCMonth() + 1) &&
    cron.days.has(day.getUTCDate()) &&
    cron.weekdays.has(day.getUTCDay())
  );
}

/**
 * The next match strictly after `wallMs`, both being wall-clock times written as if they were UTC.
 * Undefined when there is none, such as 30 February.
 */
export function nextWallTime(cron: NCrontab, wallMs: number): number | undefined {
  const from = (Math.floor(wallMs / 1000) + 1) * 1000;
  let midnight = Math.floor(from / DAY_MS) * DAY_MS;
  let second = (from - midnight) / 1000;
  for (let count = 0; count < SEARCH_DAYS; count += 1) {
    if (dayMatches(cron, new Date(midnight))) {
      const found = timeOfDay(cron, second);
      if (found !== undefined) return midnight + found * 1000;
    }
    midnight += DAY_MS;
    second = 0;
  }
  return undefined;
}
