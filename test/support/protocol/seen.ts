import { afterRefusal } from '../../../src/database/owner-call.ts';
import type { ShardId } from '../../../src/kernel/ids.ts';
import { keyOf, SHARDS } from './state.ts';
import type { At, State } from './state.ts';

/** The states that were met, in order, and how they were reached. */
export class Seen {
  readonly #known = new Map<string, number>();
  readonly #cameFrom: number[] = [];
  readonly #labels: string[] = [];
  /** Pairs of states, from and to. */
  readonly #edges: number[] = [];
  readonly #goals: number[] = [];
  #layer: (readonly [number, State])[] = [];
  #nextLayer: (readonly [number, State])[] = [];
  #taken = 0;

  constructor(start: State) {
    this.add(start, -1, 'start');
  }

  get size(): number {
    return this.#known.size;
  }

  /** The next state whose steps were not looked at, in the order of their distance from the start. */
  next(): readonly [number, State] | undefined {
    if (this.#taken === this.#layer.length) {
      this.#layer = this.#nextLayer;
      this.#nextLayer = [];
      this.#taken = 0;
    }
    return this.#layer[this.#taken++];
  }

  add(state: State, from: number, label: string): { readonly at: number; readonly isNew: boolean } {
    const key = keyOf(state);
    const known = this.#known.get(key);
    const at = known ?? this.#known.size;
    if (from >= 0) this.#edges.push(from, at);
    if (known !== undefined) return { at, isNew: false };
    this.#known.set(key, at);
    this.#cameFrom.push(from);
    this.#labels.push(label);
    if (isGoal(state)) this.#goals.push(at);
    this.#nextLayer.push([at, state]);
    return { at, isNew: true };
  }

  traceTo(index: number): readonly string[] {
    const trace: string[] = [];
    for (let at = index; at > 0; at = this.#cameFrom[at] as number) {
      trace.push(this.#labels[at] as string);
    }
    return trace.toReversed();
  }

  /** A state from which no goal can be reached, if there is one. */
  withoutWay(): number | undefined {
    const [begins, sources] = this.#backwards();
    const reaches = new Uint8Array(this.size);
    const open = [...this.#goals];
    for (const goal of open) reaches[goal] = 1;
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      for (let edge = begins[at] as number; edge < (begins[at + 1] as number); edge++) {
        const source = sources[edge] as number;
        if (reaches[source] === 1) continue;
        reaches[source] = 1;
        open.push(source);
      }
    }
    const lost = reaches.indexOf(0);
    return lost === -1 ? undefined : lost;
  }

  /** The states before each state: those of `at` lie from `begins[at]` up to `begins[at + 1]`. */
  #backwards(): readonly [begins: Uint32Array, sources: Uint32Array] {
    const edges = this.#edges;
    const begins = new Uint32Array(this.size + 1);
    const count = (at: number, by: number): number => (begins[at] = (begins[at] as number) + by);
    for (let edge = 1; edge < edges.length; edge += 2) count((edges[edge] as number) + 1, 1);
    for (let at = 0; at < this.size; at++) count(at + 1, begins[at] as number);
    const filled = begins.slice();
    const sources = new Uint32Array(edges.length / 2);
    for (let edge = 0; edge < edges.length; edge += 2) {
      const to = edges[edge + 1] as number;
      const place = filled[to] as number;
      sources[place] = edges[edge] as number;
      filled[to] = place + 1;
    }
    return [begins, sources];
  }
}

/** Nothing is under way, somebody owns the bucket, and callers with whatever map find the owner. */
function isGoal(state: State): boolean {
  if (state.workers.some((worker) => worker.at !== 'idle')) return false;
  if (state.writing.length > 0 || state.own.some((row) => row.state === 'receiving')) return false;
  return SHARDS.every((shard) => findsOwner(state, shard));
}

const MAX_HOPS = 4;

/** Follows the product's `afterRefusal` from a shard that some map names. */
function findsOwner(state: State, from: At): boolean {
  let shard = from;
  for (let hop = 0; hop < MAX_HOPS; hop++) {
    const row = state.own[shard];
    if (row.state === 'owned') return true;
    const movedTo = row.movedTo as ShardId | null;
    const refusal = { kind: 'refused', state: row.state, movedTo } as const;
    const step = afterRefusal(refusal, shard as unknown as ShardId, hop);
    if (step.kind === 'wait') return false;
    shard = step.kind === 'redirect' ? (step.shard as unknown as At) : state.map.shard;
  }
  return false;
}
