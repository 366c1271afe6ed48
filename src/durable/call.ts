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

/**
 * Runs a sub-orchestration under a fixed instance id and waits for its answer. Throws its `PermanentError`, or the
 * SDK's error when it failed otherwise. Give each its own id: an id that is in use starts nothing.
 */
export function* callSub<Input, Output, Status>(
  ctx: OrchestratorContext,
  contract: OrchestrationContract<Input, Output, Status>,
  input: NoInfer<Input>,
  instanceId: string,
): Steps<Output> {
  return unwrap(contract, yield subTask(ctx, contract, input, instanceId));
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

/** The task of {@link callSub}, for fan-outs. */
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
