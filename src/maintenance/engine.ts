import type { ShardId } from '../kernel/ids.ts';
import type { PastUnit } from './forecast.ts';
import type { Inspection, ShardAdvice, UnitOutcome, UnitRequest, Work } from './model.ts';

/** What a run asks of the shards; bound to the services by whoever composes the app. */
export interface MaintenanceEngine {
  /** Figures and decisions. Throws what `onShard` throws when the shard cannot be used. */
  inspect(
    shard: ShardId,
    options: {
      /** Undefined: all that the policy looks at. */
      readonly tables: readonly string[] | undefined;
      readonly force: boolean;
      /** Keeps the best fill seen on the shard. */
      readonly remember: boolean;
    },
  ): Promise<Inspection>;
  advise(shard: ShardId): Promise<ShardAdvice>;
  /** Finished statements of the command log, the newest of each table and action. */
  past(
    shard: ShardId,
    units: readonly { readonly table: string; readonly action: Work }[],
  ): Promise<readonly PastUnit[]>;
  /** Never throws for what is the unit's own; under the shard's named lock. */
  runUnit(request: UnitRequest): Promise<UnitOutcome>;
  /** Deletes old rows of the command log. */
  purgeLog(shard: ShardId): Promise<unknown>;
}
