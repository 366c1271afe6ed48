import type { FunctionInput, InvocationContext } from '@azure/functions';
import * as df from 'durable-functions';
import { BugError, RetryableError } from '../kernel/errors.ts';
import type { OrchestrationContract } from './contract.ts';
import { checked, unwrap } from './envelope.ts';

export type RuntimeState =
  'pending' | 'running' | 'suspended' | 'completed' | 'failed' | 'terminated';

/** An instance as the runtime sees it. */
export interface InstanceStatus<Output, Status> {
  readonly instanceId: string;
  readonly state: RuntimeState;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  /** The custom status, when one was set and fits the contract. */
  readonly status: Status | undefined;
  /** Present when `state` is `completed` and it did not answer with a permanent failure. */
  readonly output: Output | undefined;
}

/** Starts and looks at orchestrations. Every call throws `storage-unavailable` (retryable) when the runtime does not answer. */
export interface OrchestrationClient {
  /**
   * Makes sure an instance with this id exists and says whether this call started it. An instance that exists, also
   * a finished or failed one, is left alone. Two callers at once may both try to start: the runtime refuses the
   * second while the first runs; should the first have finished within that moment it runs once more, which is why
   * every orchestration must be idempotent.
   */
  ensureStarted<Input, Output, Status>(
    contract: OrchestrationContract<Input, Output, Status>,
    instanceId: string,
    input: NoInfer<Input>,
  ): Promise<'started' | 'exists'>;
  /** State, custom status and output; undefined when there is no such instance. */
  status<Input, Output, Status>(
    contract: OrchestrationContract<Input, Output, Status>,
    instanceId: string,
  ): Promise<InstanceStatus<Output, Status> | undefined>;
}

/** The SDK's own client, as far as it is used here. */
export type RawClient = Pick<df.DurableClient, 'startNew' | 'getStatus'>;

/** The extra input a function needs to use {@link orchestrationClient}. One object, so that it may be listed once per function. */
export const durableClientInput: FunctionInput = df.input.durableClient();

/** The client of an invocation whose function lists {@link durableClientInput} in `extraInputs`. */
export function orchestrationClient(context: InvocationContext): OrchestrationClient {
  return createOrchestrationClient(df.getClient(context));
}

export function createOrchestrationClient(raw: RawClient): OrchestrationClient {
  return {
    ensureStarted: async (contract, instanceId, input) => {
      requireInstanceId(instanceId);
      const payload = checked(contract.name, 'input', contract.input, input);
      if ((await lookUp(raw, instanceId)) !== undefined) return 'exists';
      try {
        await raw.startNew(contract.name, { instanceId, input: payload });
        return 'started';
      } catch (cause) {
        // Somebody else may have started it in between; then the runtime refused ours.
        if ((await lookUp(raw, instanceId)) !== undefined) return 'exists';
        throw RetryableError.storageUnavailable({ cause, details: { instanceId } });
      }
    },
    status: async (contract, instanceId) => {
      requireInstanceId(instanceId);
      const found = await lookUp(raw, instanceId);
      return found === undefined ? undefined : describe(contract, found);
    },
  };
}

function describe<Input, Output, Status>(
  contract: OrchestrationContract<Input, Output, Status>,
  found: df.DurableOrchestrationStatus,
): InstanceStatus<Output, Status> {
  const state = stateOf(found);
  const status = contract.status?.safeParse(found.customStatus);
  return {
    instanceId: found.instanceId,
    state,
    createdAtMs: new Date(found.createdTime).getTime(),
    updatedAtMs: new Date(found.lastUpdatedTime).getTime(),
    status: status?.success === true ? status.data : undefined,
    output: state === 'completed' ? unwrap(contract, found.output) : undefined,
  };
}

function stateOf(found: df.DurableOrchestrationStatus): RuntimeState {
  switch (found.runtimeStatus) {
    case df.OrchestrationRuntimeStatus.Pending:
      return 'pending';
    case df.OrchestrationRuntimeStatus.Running:
    case df.OrchestrationRuntimeStatus.ContinuedAsNew:
      return 'running';
    case df.OrchestrationRuntimeStatus.Suspended:
      return 'suspended';
    case df.OrchestrationRuntimeStatus.Completed:
      return 'completed';
    case df.OrchestrationRuntimeStatus.Failed:
      return 'failed';
    case df.OrchestrationRuntimeStatus.Canceled:
    case df.OrchestrationRuntimeStatus.Terminated:
      return 'terminated';
    default:
      throw new BugError(`unknown state of an orchestration: ${String(found.runtimeStatus)}`);
  }
}

async function lookUp(
  raw: RawClient,
  instanceId: string,
): Promise<df.DurableOrchestrationStatus | undefined> {
  try {
    return await raw.getStatus(instanceId, { showInput: false });
  } catch (cause) {
    if (isNotFound(cause)) return undefined;
    throw RetryableError.storageUnavailable({ cause, details: { instanceId } });
  }
}

/**
 * The SDK tells a missing instance from a broken runtime only in its message (`DurableClient.getStatus`, 3.5.0), which
 * is why this one place reads a message.
 */
function isNotFound(error: unknown): boolean {
  return error instanceof Error && error.message.includes('replied with HTTP 404');
}

/** The SDK puts the id into a URL as it is. */
function requireInstanceId(instanceId: string): void {
  if (/^[A-Za-z0-9_.:-]{1,200}$/.test(instanceId)) return;
  throw new BugError(`not an instance id: ${JSON.stringify(instanceId)}`);
}
