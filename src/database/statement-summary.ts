import { SHARDED_TABLES } from '../sharding/sharded-tables.ts';

/** What may be told of a statement: nothing of its values. */
export interface StatementSummary {
  /** `INSERT`, `SELECT`, … or `PACKET` for several in one exchange. */
  readonly operation: string;
  /** The first table it names that is known to be one of ours: text of a value can look like a name. */
  readonly table: string | undefined;
  /** `operation table`: few different ones, as the name of a span should be. */
  readonly name: string;
}

const TABLES: ReadonlySet<string> = new Set([
  ...SHARDED_TABLES.map(({ name }) => name),
  'bucket_ownership',
  'shard_identity',
]);
const WORD = /^[\s(]*(?:\/\*[^*]*\*\/\s*)?([a-z]+)/i;
const NAMED = /\b(?:into|from|update|join|table)\s+`?([a-z_]+)/gi;
/** Generated lists make texts of any length; the tables come first. */
const LOOKED_AT = 2_000;
/** More fixed texts than the app has; generated ones must not fill the memory. */
const MAX_KEPT = 500;
const PACKET: StatementSummary = { operation: 'PACKET', table: undefined, name: 'PACKET' };
const kept = new Map<string, StatementSummary>();

/** Summary of a statement's text, or of a packet's. */
export function summaryOf(text: string): StatementSummary {
  const known = kept.get(text);
  if (known !== undefined) return known;
  const summary = summarize(text);
  if (text.length <= LOOKED_AT && kept.size < MAX_KEPT) kept.set(text, summary);
  return summary;
}

function summarize(text: string): StatementSummary {
  // Each of its statements has tables of its own.
  if (text.startsWith('START TRANSACTION;')) return PACKET;
  const operation = (WORD.exec(text)?.[1] ?? 'OTHER').toUpperCase();
  let table: string | undefined;
  for (const [, name = ''] of text.slice(0, LOOKED_AT).matchAll(NAMED)) {
    if (!TABLES.has(name.toLowerCase())) continue;
    table = name.toLowerCase();
    break;
  }
  return { operation, table, name: table === undefined ? operation : `${operation} ${table}` };
}
