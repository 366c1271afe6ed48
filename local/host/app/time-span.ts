const DAY_MS = 86_400_000;

const PATTERN = /^(?:(\d+)\.)?(\d{1,2}):([0-5]?\d):([0-5]?\d)(?:\.(\d{1,7}))?$/;

/**
 * Milliseconds of a .NET TimeSpan `[d.]hh:mm:ss[.fffffff]`, or undefined for any other text.
 * Hours go to 23: .NET reads `24:00:00` as 24 days, which nobody means, so it is refused here.
 */
export function parseTimeSpan(text: string): number | undefined {
  const match = PATTERN.exec(text.trim());
  if (match === null) return undefined;
  const [, days = '0', hours = '0', minutes = '0', seconds = '0', fraction = ''] = match;
  if (Number(hours) > 23) return undefined;
  const fractionMs = Math.trunc(Number(fraction.padEnd(7, '0')) / 10_000);
  return (
    Number(days) * DAY_MS +
    Number(hours) * 3_600_000 +
    Number(minutes) * 60_000 +
    Number(seconds) * 1000 +
    fractionMs
  );
}
