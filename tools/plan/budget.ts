/** The connection budget before a deployment: the same sum as `infra/app/budget.bicep` and `src/database/shard-setup.ts`. */
export interface BudgetInput {
  /** Functions that scale out on their own. */
  readonly scalingGroups: number;
  /** On-demand instances per group. */
  readonly maxInstances: number;
  /** Always-ready instances of all groups together, and one per timer. */
  readonly extraInstances: number;
  /** Connections that one instance opens to one shard at most. */
  readonly connectionsPerInstance: number;
  /** `max_connections` of each server. */
  readonly maxConnections: number;
  /** What the app may use of it, percent; the rest is for operators, replicas and the migrator. */
  readonly sharePercent: number;
}

export interface Budget {
  readonly instances: number;
  readonly wanted: number;
  readonly allowed: number;
  readonly fits: boolean;
  /** The sum in words, for a refusal. */
  readonly arithmetic: string;
}

/** Adds up; pure. */
export function connectionBudget(input: BudgetInput): Budget {
  const { scalingGroups, maxInstances, extraInstances, connectionsPerInstance } = input;
  const instances = scalingGroups * maxInstances + extraInstances;
  const wanted = instances * connectionsPerInstance;
  const allowed = Math.floor((input.maxConnections * input.sharePercent) / 100);
  return {
    instances,
    wanted,
    allowed,
    fits: wanted <= allowed,
    arithmetic:
      `(${scalingGroups} scaling groups x ${maxInstances} instances + ${extraInstances}) x ` +
      `${connectionsPerInstance} connections = ${wanted}, but ${input.sharePercent} % of max_connections ` +
      `${input.maxConnections} allows ${allowed}: lower MAX_INSTANCES or the pool sizes, or take a larger MYSQL_SKU`,
  };
}
