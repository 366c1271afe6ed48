/** Values of a field: their bounds, and the names that stand for them, from `min` on. */
interface Field {
  readonly min: number;
  readonly max: number;
  readonly names?: string;
}

const FIELDS: readonly Field[] = [
  { min: 0, max: 59 },
  { min: 0, max: 59 },
  { min: 0, max: 23 },
  { min: 1, max: 31 },
  { min: 1, max: 12, names: 'jan feb mar apr may jun jul aug sep oct nov dec' },
  { min: 0, max: 6, names: 'sun mon tue wed thu fri sat' },
];

/**
 * Whether a text is a schedule of six NCRONTAB fields (second, minute, hour, day, month, day of week), as the timer trigger
 * takes it. Stricter than the host, which also takes five fields and time spans: one form is enough for a setting. Names of
 * months and days have three letters.
 */
export function isNcrontab(text: string): boolean {
  const fields = text.trim().split(/\s+/);
  return (
    fields.length === FIELDS.length &&
    FIELDS.every((field, index) =>
      (fields[index] ?? '').split(',').every((item) => isItem(item, field)),
    )
  );
}

/** `*`, `5`, `1-5`, each with or without a step such as `/10`. */
function isItem(item: string, field: Field): boolean {
  const [body = '', step, ...more] = item.split('/');
  if (more.length > 0 || (step !== undefined && !/^[1-9]\d{0,3}$/.test(step))) return false;
  if (body === '*') return true;
  const ends = body.split('-');
  return ends.length <= 2 && ends.every((end) => isValue(end, field));
}

function isValue(text: string, { min, max, names }: Field): boolean {
  if (/^\d{1,2}$/.test(text)) return Number(text) >= min && Number(text) <= max;
  return names?.split(' ').includes(text.toLowerCase()) ?? false;
}
