import type { DurableRuntimeOptions } from '../../contracts.ts';
import type { Engine } from '../engine.ts';
import type { InstanceQueries } from '../store/instance-queries.ts';

/** What the handlers of the management API work with. */
export interface ManagementContext {
  readonly engine: Engine;
  readonly queries: InstanceQueries;
  readonly options: Pick<DurableRuntimeOptions, 'origin' | 'settings'>;
}
