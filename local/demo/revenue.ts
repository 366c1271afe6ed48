import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { type Api, expectReply, reportReply, revenueReply } from './api.ts';
import { STORY_ORDERS, STORY_TOTAL_CENTS } from './story.ts';
import { SUPERSTORE_ORDERS, SUPERSTORE_TOTAL_CENTS } from './superstore.ts';

export const EXPECTED_ORDERS = SUPERSTORE_ORDERS + STORY_ORDERS;
const EXPECTED_TOTAL_CENTS = SUPERSTORE_TOTAL_CENTS + STORY_TOTAL_CENTS;
const REPORT_TRIES = 120;

/**
 * Shows revenue in total, per shard and by year; returns what does not agree with the data set and `cents` orders of
 * one cent besides (empty: all right).
 */
export async function showRevenue(
  api: Api,
  print: (line: string) => void,
  cents: number,
): Promise<string[]> {
  const started = performance.now();
  const reply = await api.send('GET', '/revenue');
  const elapsedMs = performance.now() - started;
  const revenue = expectReply(reply, [200], revenueReply, 'revenue');
  for (const shard of revenue.perShard) {
    print(
      `  shard ${shard.shard}   ${money(shard.totalCents)}   ${String(shard.orders).padStart(6)} orders`,
    );
  }
  print(
    `  total     ${money(revenue.totalCents)}   ${String(revenue.orders).padStart(6)} orders   (asked in ${elapsedMs.toFixed(0)} ms)`,
  );

  const byYear = await reportByYear(api);
  for (const [year, cents] of byYear) print(`  ${year}      ${money(String(cents))}`);

  const wrong: string[] = [];
  const check = (what: string, actual: bigint | number, expected: bigint | number): void => {
    if (actual !== expected) wrong.push(`${what} is ${actual}, expected ${expected}`);
  };
  const expectedTotal = EXPECTED_TOTAL_CENTS + BigInt(cents);
  check('the total', BigInt(revenue.totalCents), expectedTotal);
  check('the number of orders', revenue.orders, EXPECTED_ORDERS + cents);
  const shards = revenue.perShard;
  check(
    'the sum over shards',
    shards.reduce((sum, s) => sum + BigInt(s.totalCents), 0n),
    expectedTotal,
  );
  check(
    'the sum over years',
    [...byYear.values()].reduce((sum, cents) => sum + cents, 0n),
    expectedTotal,
  );
  if (!revenue.complete) wrong.push('the total is marked as incomplete');
  return wrong;
}

/** A durable report by month, folded into years. */
async function reportByYear(api: Api): Promise<Map<string, bigint>> {
  const start = await api.send('POST', '/revenue/reports', { groupBy: 'month' });
  const { reportId } = expectReply(start, [202], z.object({ reportId: z.string() }), 'report');
  for (let attempt = 0; attempt < REPORT_TRIES; attempt += 1) {
    const reply = await api.send('GET', `/revenue/reports/${reportId}`);
    const report = expectReply(reply, [200], reportReply, 'report');
    if (report.status === 'failed')
      throw new Error(`the report failed: ${JSON.stringify(reply.body)}`);
    if (report.result !== undefined) return foldYears(report.result.groups);
    await sleep(250);
  }
  throw new Error('the report did not finish in time');
}

function foldYears(groups: readonly { key: string; totalCents: string }[]): Map<string, bigint> {
  const years = new Map<string, bigint>();
  for (const { key, totalCents } of groups) {
    const year = key.slice(0, 4);
    years.set(year, (years.get(year) ?? 0n) + BigInt(totalCents));
  }
  return years;
}

function money(cents: string): string {
  const text = cents.padStart(3, '0');
  const whole = text.slice(0, -2).replaceAll(/\B(?=(\d{3})+$)/g, ' ');
  return `${whole}.${text.slice(-2)}`.padStart(14);
}
