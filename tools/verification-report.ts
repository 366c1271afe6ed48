import type { Verification } from '../src/verification/model.ts';

/** The result as a reader at a terminal wants it: what was checked, what was counted, what is wrong. */
export function describeVerification(result: Verification): string {
  const lines = [headline(result), ''];
  const width = Math.max(...result.checks.map(({ name }) => name.length), 5);
  lines.push(`  ${'check'.padEnd(width)}  ${'looked at'.padStart(12)}  violations`);
  for (const { name, ok, checked, violations } of result.checks) {
    const verdict = ok ? 'none' : number(violations);
    lines.push(`  ${name.padEnd(width)}  ${number(checked).padStart(12)}  ${verdict}`);
  }
  if (result.figures !== undefined) lines.push('', ...figureLines(result.figures));
  lines.push(...violationLines(result));
  if (result.failure !== undefined) lines.push('', `  ${result.failure.message}`);
  return `${lines.join('\n')}\n`;
}

function headline({ status, ok, verificationId, startedAt, finishedAt }: Verification): string {
  const seconds =
    finishedAt === null ? 0 : Math.max(0, Date.parse(finishedAt) - Date.parse(startedAt)) / 1_000;
  const took = `${seconds.toFixed(1)} s`;
  if (status === 'failed') {
    return `Verification ${verificationId} could not be finished (${took}). What it looked at so far:`;
  }
  return ok
    ? `Everything is as it must be (verification ${verificationId}, ${took}).`
    : `Some things are not as they must be (verification ${verificationId}, ${took}).`;
}

function figureLines(figures: NonNullable<Verification['figures']>): string[] {
  const entries = Object.entries(figures).map(([name, value]) => [words(name), number(value)]);
  const left = Math.max(...entries.map(([name = '']) => name.length));
  const right = Math.max(...entries.map(([, value = '']) => value.length));
  return entries.map(
    ([name = '', value = '']) => `  ${name.padEnd(left)}  ${value.padStart(right)}`,
  );
}

function violationLines({ checks }: Verification): string[] {
  return checks
    .filter(({ ok }) => !ok)
    .flatMap(({ name, violations, examples }) => {
      const rest = violations - examples.length;
      return [
        '',
        `  ${name}:`,
        ...examples.map(({ problem, subject, shard, detail }) => {
          const where = shard === null ? '' : ` on shard ${shard}`;
          return `    ${problem}: ${subject}${where}${detail === undefined ? '' : ` (${detail})`}`;
        }),
        ...(rest > 0 ? [`    and ${number(rest)} more`] : []),
      ];
    });
}

/** `ordersVisible` → `orders visible`. */
function words(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function number(value: number | string): string {
  return BigInt(value).toLocaleString('en-US').replaceAll(',', ' ');
}

/** Exit code of the command: 0 all is well, 1 violations, 2 it could not be carried out. */
export function exitCodeOf({ status, ok }: Verification): 0 | 1 | 2 {
  if (status !== 'completed') return 2;
  return ok ? 0 : 1;
}
