import { RetryableError } from '../kernel/errors.ts';
import type { ShardId } from '../kernel/ids.ts';
import type { GroupKind } from './contracts.ts';
import { DatabaseError } from './database-error.ts';

/**
 * Writes of many callers that go to one shard as one statement (group commit in the application, ADR 0023).
 *
 * Nobody waits for company: while fewer than {@link GroupWriterOptions.statementsAtOnce} statements are under way a write goes
 * at once, with those alone that came in the same turn of the event loop. Those that come meanwhile gather, and the first
 * of them takes all the others along as soon as a statement has ended. So a quiet instance behaves as if there were no
 * groups, and a busy one sends fewer, larger statements, each with one flush of the server's log (docs/performance.md).
 */
export interface GroupWriterOptions {
  /** Statements under way, from which on writes gather. */
  readonly statementsAtOnce: number;
  /** Items of one statement at most. */
  readonly maxItems: number;
  /**
   * A statement that takes longer is not counted any more: it waits for a lock or for a slow server, and those behind it
   * shall not. Milliseconds.
   */
  readonly patienceMs: number;
  /** Items that may wait; one more is refused. */
  readonly maxWaiting: number;
  /** Made for the caller who finds too many waiting. */
  readonly refusal: () => Error;
}

/** Two: one runs while the next is sent. More made groups smaller and the whole slower (docs/performance.md). */
const STATEMENTS_AT_ONCE = 2;
/** A statement of so many orders takes some 10 ms; larger ones gain little and hold their locks for longer. */
const MAX_ITEMS = 256;
/** Several times what a statement takes on a healthy server, and well below a fence's limit. */
const PATIENCE_MS = 50;

/** What comes of waiting: to write for the others, to have been written, or to write for oneself. */
type Turn<Item> =
  | { readonly kind: 'lead'; readonly followers: readonly Waiting<Item>[] }
  | { readonly kind: 'written' }
  | { readonly kind: 'alone' };

type Together<Item> = (items: readonly Item[]) => Promise<ReadonlySet<Item>>;

interface Waiting<Item> {
  readonly item: Item;
  readonly resolve: (turn: Turn<Item>) => void;
  readonly reject: (error: unknown) => void;
}

/** The writes of one kind to one shard, of this process. */
export class GroupWriter<Item> {
  readonly #options: GroupWriterOptions;
  readonly #waiting: Waiting<Item>[] = [];
  #underWay = 0;
  #isTurnEnding = false;

  constructor(options: GroupWriterOptions) {
    this.#options = options;
  }

  /**
   * Writes one item by `together`, which is that of the group's first caller (its connection, its deadline, its trace), or
   * by `alone`. Returns `written` or what `alone` gave. A `DatabaseError` of `together` is thrown to all of the group and
   * means what it means for a statement of one's own. Any other trouble is the first caller's, and nothing was sent:
   * the others go alone. Throws the refusal when too many wait.
   */
  async run<T>(
    item: Item,
    together: Together<Item>,
    alone: () => Promise<T>,
  ): Promise<T | 'written'> {
    const turn = await this.#wait(item);
    if (turn.kind === 'written') return 'written';
    if (turn.kind === 'alone') return await alone();
    return await this.#run({ item, followers: turn.followers, together, alone });
  }

  #wait(item: Item): Promise<Turn<Item>> {
    if (this.#waiting.length >= this.#options.maxWaiting) throw this.#options.refusal();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#sendSoon();
    });
  }

  /** At the end of this turn: whatever a busy instance read from its callers' sockets at once goes together. */
  #sendSoon(): void {
    if (this.#isTurnEnding || this.#underWay >= this.#options.statementsAtOnce) return;
    this.#isTurnEnding = true;
    setImmediate(() => {
      this.#isTurnEnding = false;
      this.#send();
    });
  }

  /** Counted from here, not from when the leader goes on: nobody may come in between. */
  #lead(followers: readonly Waiting<Item>[]): Turn<Item> {
    this.#underWay += 1;
    return { kind: 'lead', followers };
  }

  async #run<T>(group: {
    readonly item: Item;
    readonly followers: readonly Waiting<Item>[];
    readonly together: Together<Item>;
    readonly alone: () => Promise<T>;
  }): Promise<T | 'written'> {
    const { item, followers, together, alone } = group;
    const leave = this.#hold();
    try {
      if (followers.length === 0) return await alone();
      const written = await together([item, ...followers.map((follower) => follower.item)]);
      for (const { item: other, resolve } of followers) {
        resolve({ kind: written.has(other) ? 'written' : 'alone' });
      }
      if (written.has(item)) return 'written';
    } catch (error) {
      for (const { resolve, reject } of followers) {
        if (error instanceof DatabaseError) reject(error);
        else resolve({ kind: 'alone' });
      }
      throw error;
    } finally {
      leave();
    }
    return await alone();
  }

  /** Holds a place until the returned function is called, or for as long as patience lasts. */
  #hold(): () => void {
    let held = true;
    const leave = (): void => {
      if (!held) return;
      held = false;
      clearTimeout(timer);
      this.#underWay -= 1;
      if (this.#waiting.length > 0) this.#sendSoon();
    };
    const timer = setTimeout(leave, this.#options.patienceMs);
    return leave;
  }

  #send(): void {
    while (this.#underWay < this.#options.statementsAtOnce) {
      const [first, ...followers] = this.#waiting.splice(0, this.#options.maxItems);
      if (first === undefined) return;
      first.resolve(this.#lead(followers));
    }
  }
}

/** The group writers of one shard, one for each kind of write. */
export class GroupWriters {
  readonly #shardId: ShardId;
  readonly #maxWaiting: number;
  readonly #writers = new Map<unknown, GroupWriter<unknown>>();

  constructor(shardId: ShardId, maxWaiting: number) {
    this.#shardId = shardId;
    this.#maxWaiting = maxWaiting;
  }

  of<Item>(kind: GroupKind<Item>): GroupWriter<Item> {
    const known = this.#writers.get(kind) as GroupWriter<Item> | undefined;
    if (known !== undefined) return known;
    const writer = new GroupWriter<Item>({
      statementsAtOnce: STATEMENTS_AT_ONCE,
      maxItems: MAX_ITEMS,
      patienceMs: PATIENCE_MS,
      maxWaiting: this.#maxWaiting,
      refusal: () =>
        RetryableError.tooManyRequests(
          'Too many requests are waiting for the shard that holds this data; nothing was changed. Try again shortly.',
          { details: { shardId: this.#shardId, waiting: this.#maxWaiting } },
        ),
    });
    this.#writers.set(kind, writer as GroupWriter<unknown>);
    return writer;
  }
}
