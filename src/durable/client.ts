import type { FunctionInput, InvocationContext } from '@azure/functions';
import * as df from 'durable-functions';
import { BugError, PermanentError, RetryableError } from '../kernel/errors.ts';
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

/**
 * Starts and looks at orchestrations. Every call throws `storage-unavailable` (retryable) when the runtime does not
 * answer, and `conflict` (permanent) when the instance under the id belongs to another orchestration.
 */
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
  /**
   * Starts a new execution under an id whose instance has ended or is absent; one that lives, also a suspended one, is
   * left alone. Of two callers at once one starts it; the same caveat as for `ensureStarted` holds.
   */
  startAgain<Input, Output, Status>(
    contract: OrchestrationContract<Input, Output, Status>,
    instanceId: string,
    input: NoInfer<Input>,
  ): Promise<'started' | 'running'>;
  /**
   * Sends an external event, `data` as JSON. True: the runtime has it, and an orchestration that still waits for it
   * gets it. False: there is no such instance, or it has ended.
   */
  raise(instanceId: string, eventName: string, data: unknown): Promise<boolean>;
  /** State, custom status and output; undefined when there is no such instance. */
  status<Input, Output, Status>(
    contract: OrchestrationContract<Input, Output, Status>,
    instanceId: string,
  ): Promise<InstanceStatus<Output, Status> | undefined>;
}

/** The SDK's own client, as far as it is used here. */
export type RawClient = Pick<df.DurableClient, 'startNew' | 'getStatus' | 'raiseEvent'>;

/** The extra input a function needs to use {@link orchestrationClient}. One object, so that it may be listed once per function. */
export const durableClientInput: FunctionInput = df.input.durableClient();

/** The client of an invocation whose function lists {@link durableClientInput} in `extraInputs`. */
export function orchestrationClient(context: InvocationContext): OrchestrationClient {
  return createOrchestrationClient(df.getClient(context));
}

export function createOrchestrationClient(raw: RawClient): OrchestrationClient {
  return {
    ensureStarted: async (contract, instanceId, input) => {
      const payload = checked(contract.name, 'input', contract.input, input);
      const exists = (found: Found): boolean => found !== undefined;
      const started = await startUnless(raw, { contract, instanceId, payload }, exists);
      return started ? 'started' : 'exists';
    },
    startAgain: async (contract, instanceId, input) => {
      const payload = checked(contract.name, 'input', contract.input, input);
      const started = await startUnless(raw, { contract, instanceId, payload }, isLive);
      return started ? 'started' : 'running';
    },
    raise: (instanceId, eventName, data) => raise(raw, { instanceId, eventName, data }),
    status: async (contract, instanceId) => {
      const found = await lookUpOwn(raw, contract, instanceId);
      return found === undefined ? undefined : describe(contract, found);
    },
  };
}

type Found = df.DurableOrchestrationStatus | undefined;

interface Start {
  readonly contract: { readonly name: string };
  readonly instanceId: string;
  readonly payload: unknown;
}

/** Starts an instance unless what is there under its id stands in the way; false: it does. */
async function startUnless(
  raw: RawClient,
  { contract, instanceId, payload }: Start,
  inTheWay: (found: Found) => boolean,
): Promise<boolean> {
  if (inTheWay(await lookUpOwn(raw, contract, instanceId))) return false;
  try {
    await raw.startNew(contract.name, { instanceId, input: payload });
    return true;
  } catch (cause) {
    // Somebody else may have started it in between; then the runtime refused ours.
    if (inTheWay(await lookUpOwn(raw, contract, instanceId))) return false;
    throw RetryableError.storageUnavailable({ cause, details: { instanceId } });
  }
}

async function raise(
  raw: RawClient,
  event: { readonly instanceId: string; readonly eventName: string; readonly data: unknown },
): Promise<boolean> {
  const { instanceId, eventName, data } = event;
  requireInstanceId(instanceId);
  // The SDK takes an event for an ended instance without a word.
  if (!isLive(await lookUp(raw, instanceId))) return false;
  try {
    await raw.raiseEvent(instanceId, eventName, data);
    return true;
  } catch (cause) {
    if (!isLive(await lookUp(raw, instanceId))) return false;
    throw RetryableError.storageUnavailable({ cause, details: { instanceId, eventName } });
  }
}

function isLive(found: Found): boolean {
  if (found === undefined) return false;
  const state = stateOf(found);
  return state === 'pending' || state === 'running' || state === 'suspended';
}

/** Names of functions ignore case, as in the host. */
async function lookUpOwn(
  raw: RawClient,
  contract: { readonly name: string },
  instanceId: string,
): Promise<Found> {
  requireInstanceId(instanceId);
  const found = await lookUp(raw, instanceId);
  if (found === undefined || found.name.toLowerCase() === contract.name.toLowerCase()) return found;
  throw new PermanentError(
    'conflict',
    'This id is in use for something of another kind. Send the request under another id.',
    { details: { instanceId, expected: contract.name, found: found.name } },
  );
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

async function lookUp(raw: RawClient, instanceId: string): Promise<Found> {
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
