import { z } from 'zod';
import { connectionBudget } from '../plan/budget.ts';
import type { Sku } from '../plan/skus.ts';
import { secretIn } from './secrets.ts';

/** What the profiles of `infra/main.bicep` say, as far as the checks need it; a test compares the two. */
export const PROFILES = {
  dev: {
    mysqlSku: 'Standard_B1ms',
    maxInstances: 5,
    alwaysReady: 0,
    poolSize: 4,
    batchPoolSize: 1,
  },
  prod: {
    mysqlSku: 'Standard_D4ads_v5',
    maxInstances: 20,
    alwaysReady: 2,
    poolSize: 8,
    batchPoolSize: 2,
  },
} as const;

/** Groups that are kept ready: HTTP, Durable, and the orders queue. */
const READY_GROUPS = 3;

function whole(fallback: number, min: number, max: number) {
  return z
    .string()
    .regex(/^-?\d+$/, `a whole number ${min} … ${max} is expected`)
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .default(fallback);
}

const environment = z.object({
  PROFILE: z.enum(['dev', 'prod']).default('dev'),
  SHARD_COUNT: whole(2, 1, 64),
  MYSQL_SKU: z.string().default(''),
  MYSQL_MAX_CONNECTIONS: whole(0, 0, 100_000),
  MYSQL_HIGH_AVAILABILITY: z.enum(['', 'Disabled', 'SameZone', 'ZoneRedundant']).default(''),
  MYSQL_PUBLIC_ACCESS: z.enum(['', 'Enabled', 'Disabled']).default(''),
  MAX_INSTANCES: whole(0, 0, 1000),
  ALWAYS_READY: whole(-1, -1, 1000),
  SHARD_POOL_SIZE: whole(0, 0, 200),
  SHARD_BATCH_POOL_SIZE: whole(0, 0, 32),
  CONNECTION_SHARE_PERCENT: whole(80, 1, 100),
  DURABLE_BACKEND: z.enum(['storage', 'dts-consumption', 'dts-dedicated']).default('storage'),
  MYSQL_ENTRA_ONLY: z.enum(['true', 'false']).default('false'),
  CLIENT_IP_ADDRESS: z.union([z.literal(''), z.ipv4('an IPv4 address is expected')]).default(''),
});

export interface DeploymentFacts {
  readonly skus: Readonly<Record<string, Sku>>;
  readonly functions: { readonly queues: readonly string[]; readonly timers: readonly string[] };
}

/**
 * Everything that stands against provisioning with this azd environment, one sentence each; none when it may go ahead.
 * Pure. Resource Manager would refuse most of it too, but later, and some of it after half an hour of creating servers.
 */
export function deploymentProblems(
  env: Readonly<Record<string, string | undefined>>,
  facts: DeploymentFacts,
): string[] {
  // A pipeline hands on variables that are not set as empty ones.
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const parsed = environment.safeParse(given);
  if (!parsed.success) {
    return parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  }
  const wanted = parsed.data;
  const appPassword = secretIn(env, 'APP_PASSWORD');
  const profile = PROFILES[wanted.PROFILE];
  const skuName = wanted.MYSQL_SKU === '' ? profile.mysqlSku : wanted.MYSQL_SKU;
  const sku = Object.hasOwn(facts.skus, skuName) ? facts.skus[skuName] : undefined;
  if (sku === undefined) {
    return [`MYSQL_SKU: "${skuName}" is none of ${Object.keys(facts.skus).join(', ')}`];
  }
  const problems = serverProblems(wanted, skuName, sku);
  if (appPassword !== undefined) problems.push(...passwordProblems(appPassword, wanted));
  const ready = wanted.ALWAYS_READY === -1 ? profile.alwaysReady : wanted.ALWAYS_READY;
  if (wanted.PROFILE === 'prod' && ready === 1) {
    problems.push('ALWAYS_READY: 0, or at least 2, since the prod profile is zone redundant');
  }
  const budget = connectionBudget({
    scalingGroups: 2 + facts.functions.queues.length,
    maxInstances: wanted.MAX_INSTANCES || profile.maxInstances,
    extraInstances: ready * READY_GROUPS + facts.functions.timers.length,
    connectionsPerInstance:
      (wanted.SHARD_POOL_SIZE || profile.poolSize) +
      (wanted.SHARD_BATCH_POOL_SIZE || profile.batchPoolSize),
    maxConnections: wanted.MYSQL_MAX_CONNECTIONS || sku.defaultConnections,
    sharePercent: wanted.CONNECTION_SHARE_PERCENT,
  });
  if (!budget.fits) problems.push(`Connections: ${budget.arithmetic}`);
  return problems;
}

/** Of the service's rules for passwords only the length is held against it: a server tells the rest at once. */
function passwordProblems(
  password: string,
  { MYSQL_ENTRA_ONLY }: z.infer<typeof environment>,
): string[] {
  const problems: string[] = [];
  if (password.length < 16 || password.length > 128) {
    problems.push(`APP_PASSWORD: it has ${password.length} characters; 16 to 128 are expected`);
  }
  if (MYSQL_ENTRA_ONLY === 'true') {
    problems.push(
      'APP_PASSWORD: with MYSQL_ENTRA_ONLY=true no user signs in by password; take one of the two back',
    );
  }
  return problems;
}

function serverProblems(wanted: z.infer<typeof environment>, skuName: string, sku: Sku): string[] {
  const problems: string[] = [];
  const prod = wanted.PROFILE === 'prod';
  if (wanted.MYSQL_MAX_CONNECTIONS > sku.maxConnections) {
    problems.push(
      `MYSQL_MAX_CONNECTIONS: ${wanted.MYSQL_MAX_CONNECTIONS} is more than the ${sku.maxConnections} that ${skuName} takes`,
    );
  }
  const highAvailability = wanted.MYSQL_HIGH_AVAILABILITY || (prod ? 'ZoneRedundant' : 'Disabled');
  if (sku.tier === 'Burstable' && highAvailability !== 'Disabled') {
    problems.push(
      `MYSQL_HIGH_AVAILABILITY: ${highAvailability} is not to be had on ${skuName}; set it to Disabled or take a larger MYSQL_SKU`,
    );
  }
  return problems;
}
