import type { OrchestrationClient } from '../durable/client.ts';
import type { Services } from '../services.ts';
import { reportName } from './report.ts';
import { isOver } from './run-model.ts';
import type { RunState } from './run-model.ts';
import { createRunStore } from './run-store.ts';
import { viewRun, viewShard, viewTables, type PageView, type TableView } from './run-view.ts';
import { isKnown, keepGoing } from './runs.ts';
import type { ShardPlan } from './shard-plan.ts';

/** Advice shown with one answer; all of it is in the report. */
const MAX_ADVICE = 200;

/** Where a page of tables begins: a shard's position in the run, and a table's within its plan. */
export interface Place {
  readonly shard: number;
  readonly table: number;
}

/**
 * How far a run is, with a page of its tables; `latest` is the one accepted last. Undefined when there is none. One that
 * stands still because nothing runs under its id is started again.
 */
export async function describeRun(
  services: Services,
  client: OrchestrationClient,
  wanted: string,
  page: { readonly from: Place; readonly limit: number },
): Promise<PageView | undefined> {
  const store = createRunStore(services);
  const id = wanted === 'latest' ? (await store.current.read())?.value : wanted;
  const state = id === undefined ? undefined : (await store.readState(id))?.value;
  if (id === undefined || state === undefined) return undefined;
  if (!(await isKnown(store, id, state))) return undefined;
  await keepGoing(client, id, state);
  // One shard's plan at a time: together they may be a hundred megabytes.
  const collected = collect(state, page);
  for (const [index, entry] of state.shards.entries()) {
    const isSeen = entry.state === 'inspected';
    collected.add(index, isSeen ? await store.readPlan(id, entry.shard) : undefined);
  }
  const { neverFit, ...rest } = collected.end();
  return {
    ...viewRun(id, state, neverFit, services.clock.nowMs()),
    ...rest,
    report: isOver(state.status) ? reportName(id, state.startedAtMs) : null,
  };
}

type Collected = Pick<
  PageView,
  'shards' | 'tables' | 'nextCursor' | 'advice' | 'adviceLeftOut' | 'neverFit'
>;

function collect(
  state: RunState,
  { from, limit }: { readonly from: Place; readonly limit: number },
): { add(index: number, plan: ShardPlan | undefined): void; end(): Collected } {
  const shards: PageView['shards'] = [];
  const tables: TableView[] = [];
  const advice: PageView['advice'] = [];
  let adviceLeftOut = 0;
  let neverFit = 0;
  let next: Place | undefined;
  return {
    add: (index, plan) => {
      const entry = state.shards[index];
      if (entry !== undefined) shards.push(viewShard(entry, plan));
      if (plan === undefined) return;
      neverFit += plan.tables.filter((table) => table.neverFits !== null).length;
      const given = plan.advice.advice.slice(0, MAX_ADVICE - advice.length);
      advice.push(...given.map((item) => ({ ...item, shard: plan.shard })));
      adviceLeftOut += plan.advice.advice.length - given.length + plan.advice.leftOut;
      if (index < from.shard || next !== undefined) return;
      const start = index === from.shard ? from.table : 0;
      const room = limit - tables.length;
      const own = viewTables(state, plan).slice(start);
      tables.push(...own.slice(0, room));
      if (own.length > room) next = { shard: index, table: start + room };
    },
    end: () => {
      const nextCursor = next === undefined ? null : `${next.shard}-${next.table}`;
      return { shards, tables, nextCursor, advice, adviceLeftOut, neverFit };
    },
  };
}
