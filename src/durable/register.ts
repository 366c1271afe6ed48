import * as df from 'durable-functions';
import { PermanentError, type FieldProblem } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { AnyContract } from './contract.ts';
import type { ActivityImplementation, OrchestrationImplementation } from './implement.ts';

/** What a slice brings: its contracts, and the code for each of them. */
export interface DurableModule<Services> {
  readonly contracts: readonly AnyContract[];
  readonly activities: readonly ActivityImplementation<Services>[];
  readonly orchestrations: readonly OrchestrationImplementation[];
}

/** The part of the SDK's `app` that is used; tests pass their own. */
export type DurableApp = Pick<typeof df.app, 'activity' | 'orchestration'>;

/**
 * Registers all activities and orchestrations of the app. Throws `configuration-invalid` when two have one name
 * (the host's names ignore case) or when a contract has no code, so that a start shows it, not the first call.
 */
export function registerDurable<Services extends { readonly logger: Logger }>(
  services: Services,
  modules: readonly DurableModule<Services>[],
  app: DurableApp = df.app,
): void {
  const implementations = modules.flatMap((module) => [
    ...module.activities,
    ...module.orchestrations,
  ]);
  const problems = problemsOf(
    modules.flatMap((module) => module.contracts),
    implementations.map((implementation) => implementation.contract),
  );
  if (problems.length > 0) throw PermanentError.configuration(problems);
  for (const implementation of implementations) {
    if (implementation.kind === 'activity') registerActivity(app, services, implementation);
    else registerOrchestration(app, services, implementation);
  }
}

function registerActivity<Services extends { readonly logger: Logger }>(
  app: DurableApp,
  services: Services,
  implementation: ActivityImplementation<Services>,
): void {
  const { name } = implementation.contract;
  const handler = implementation.bind(services);
  app.activity(name, {
    handler: async (input: unknown, context) => {
      const parent = context.triggerMetadata?.['instanceId'];
      const instanceId = typeof parent === 'string' ? parent : '';
      const logger = services.logger.with({
        functionName: name,
        instanceId,
        invocationId: context.invocationId,
      });
      return await handler(input, { instanceId, logger });
    },
  });
}

function registerOrchestration(
  app: DurableApp,
  services: { readonly logger: Logger },
  implementation: OrchestrationImplementation,
): void {
  app.orchestration(implementation.contract.name, (context) =>
    implementation.run(context.df, services.logger),
  );
}

function problemsOf(
  contracts: readonly AnyContract[],
  implemented: readonly AnyContract[],
): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const seen = new Set<string>();
  for (const contract of implemented) {
    const key = contract.name.toLowerCase();
    if (seen.has(key)) {
      problems.push({ path: contract.name, message: 'is the name of two durable functions' });
    }
    seen.add(key);
  }
  const bound = new Set(implemented);
  for (const contract of contracts) {
    if (!bound.has(contract)) {
      problems.push({ path: contract.name, message: 'has a contract but no implementation' });
    }
  }
  return problems;
}
