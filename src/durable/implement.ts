import type { DurableOrchestrationContext, Task } from 'durable-functions';
import { errorFields, type Logger } from '../kernel/logger.ts';
import { PermanentError } from '../kernel/errors.ts';
import type { ActivityContract, OrchestrationContract } from './contract.ts';
import {
  CONTINUED,
  replaySafeLogger,
  type Continued,
  type OrchestratorContext,
  type Steps,
} from './context.ts';
import { checked, failure, success, type Envelope } from './envelope.ts';

/** One run of an activity. */
export interface ActivityRun {
  /** The orchestration that asked. */
  readonly instanceId: string;
  /** Carries instance id and activity name. */
  readonly logger: Logger;
}

/** Code bound to an activity's contract; `Services` is what the code needs from the outside. */
export interface ActivityImplementation<Services> {
  readonly kind: 'activity';
  readonly contract: { readonly kind: 'activity'; readonly name: string };
  bind(services: Services): (input: unknown, run: ActivityRun) => Promise<Envelope>;
}

/** Code bound to an orchestration's contract. */
export interface OrchestrationImplementation {
  readonly kind: 'orchestration';
  readonly contract: { readonly kind: 'orchestration'; readonly name: string };
  run(df: DurableOrchestrationContext, logger: Logger): Generator<Task, unknown, unknown>;
}

/**
 * Binds code to an activity's contract. The code may run more than once for one call and must be idempotent. A
 * `PermanentError` it throws becomes the answer; anything else is thrown on and tried again by the contract's policy.
 */
export function implement<Services, Input, Output>(
  contract: ActivityContract<Input, Output>,
  make: (services: Services) => (input: Input, run: ActivityRun) => Promise<Output>,
): ActivityImplementation<Services> {
  return {
    kind: 'activity',
    contract,
    bind: (services) => {
      const handler = make(services);
      return async (payload, run) => {
        const input = checked(contract.name, 'input', contract.input, payload);
        try {
          const output = await handler(input, run);
          return success(checked(contract.name, 'output', contract.output, output));
        } catch (error) {
          if (error instanceof PermanentError) {
            run.logger.log('warn', 'durable.activity_refused', errorFields(error));
            return failure(error);
          }
          run.logger.log('warn', 'durable.activity_failed', errorFields(error));
          throw error;
        }
      };
    },
  };
}

/**
 * Binds a generator to an orchestration's contract. A `PermanentError` reaches a parent as an error of that class;
 * an orchestration without a parent fails visibly instead.
 */
export function implementOrchestration<Input, Output, Status>(
  contract: OrchestrationContract<Input, Output, Status>,
  steps: (ctx: OrchestratorContext, input: Input) => Steps<Output | Continued>,
): OrchestrationImplementation {
  return {
    kind: 'orchestration',
    contract,
    *run(df, logger) {
      const ctx: OrchestratorContext = {
        df,
        logger: replaySafeLogger(
          df,
          logger.with({ functionName: contract.name, instanceId: df.instanceId }),
        ),
      };
      const input = checked(contract.name, 'input', contract.input, df.getInput<unknown>());
      try {
        const output = yield* steps(ctx, input);
        if (output === CONTINUED) return null;
        return success(checked(contract.name, 'output', contract.output, output));
      } catch (error) {
        ctx.logger.log('error', 'durable.orchestration_failed', errorFields(error));
        const hasParent = df.parentInstanceId !== undefined && df.parentInstanceId !== null;
        if (error instanceof PermanentError && hasParent) return failure(error);
        throw error;
      }
    },
  };
}
