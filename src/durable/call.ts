import { RetryOptions, type Task } from 'durable-functions';
import type { ActivityContract, OrchestrationContract, RetryPolicy } from './contract.ts';
import type { OrchestratorContext, Steps } from './context.ts';
import { checked, unwrap } from './envelope.ts';

/**
 * Runs an activity and waits for its answer: `const page = yield* call(ctx, readPage, { cursor })`. The input is
 * checked before it is scheduled and the output when it arrives. Throws the activity's `PermanentError`, or the SDK's
 * error after the last try of the contract's retry policy.
 */
export function* call<Input, Output>(
  ctx: OrchestratorContext,
  contract: ActivityContract<Input, Output>,
  input: NoInfer<Input>,
): Steps<Output> {
  return unwrap(contract, yield activityTask(ctx, contract, input));
}

/** The task of {@link call}, for fan-outs. It is scheduled when it is yielded, alone or inside one `all`. */
export function activityTask<Input, Output>(
  ctx: OrchestratorContext,
  contract: ActivityContract<Input, Output>,
  input: Input,
): Task {
  const payload = checked(contract.name, 'input', contract.input, input);
  return contract.retry.maxAttempts === 1
    ? ctx.df.callActivity(contract.name, payload)
    : ctx.df.callActivityWithRetry(contract.name, retryOptions(contract.retry), payload);
}

/** A sub-orchestration under a fixed instance id, for fan-outs. Give each its own id: one that is in use starts nothing. */
export function subTask<Input, Output, Status>(
  ctx: OrchestratorContext,
  contract: OrchestrationContract<Input, Output, Status>,
  input: Input,
  instanceId: string,
): Task {
  const payload = checked(contract.name, 'input', contract.input, input);
  return ctx.df.callSubOrchestrator(contract.name, payload, instanceId);
}

function retryOptions(policy: RetryPolicy): RetryOptions {
  const options = new RetryOptions(policy.firstIntervalMs, policy.maxAttempts);
  options.backoffCoefficient = policy.backoff;
  options.maxRetryIntervalInMilliseconds = policy.maxIntervalMs;
  return options;
}
