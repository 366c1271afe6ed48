import type { ActivityImplementation } from '../durable/implement.ts';
import { BugError } from '../kernel/errors.ts';
import {
  implementCompensatableStep,
  implementStep,
  type StepRun,
} from '../sagas/implement-step.ts';
import { enterToRun, recordResult, type LedgerKey } from '../sagas/ledger.ts';
import { attemptInTransaction } from '../sagas/transaction.ts';
import type { Services } from '../services.ts';
import {
  confirmTarget,
  insertPending,
  lockSource,
  removeSource,
  type Crossing,
  type Transfer,
} from './contracts.ts';
import { transferOrderSaga } from './saga.ts';
import {
  confirmAtTarget,
  insertAtTarget,
  lockAtSource,
  removeFromSource,
  removeFromTarget,
  sourceOf,
  targetOf,
  unlockSource,
} from './transfer-effects.ts';

/**
 * How long the pivot's activity waits for its early confirmation, milliseconds: a target that is away must not hold up
 * the saga, whose next step waits better.
 */
const EARLY_DEADLINE_MS = 1_000;

/** The name that a step has in the saga's table, and so in the ledger. */
export function stepNameOf(contract: { readonly name: string }): string {
  const step = transferOrderSaga.steps.find((row) => row.contract.name === contract.name);
  if (step === undefined) throw new BugError(`${contract.name} is no step of a transfer`);
  return step.name;
}

/** The code of the steps; each runs behind the ledger and the fence of its one bucket. */
export const transferSteps: readonly ActivityImplementation<Services>[] = [
  implementCompensatableStep(lockSource, {
    bucket: (transfer) => sourceOf(transfer).bucket,
    run: async (tx, transfer, run) => ({
      kind: 'answered',
      value: await lockAtSource(tx, transfer, run),
    }),
    undo: async (tx, transfer, run) => {
      await unlockSource(tx, transfer, run);
    },
  }),
  implementCompensatableStep(insertPending, {
    bucket: (transfer) => targetOf(transfer).bucket,
    run: async (tx, transfer, run) => ({
      kind: 'answered',
      value: await insertAtTarget(tx, transfer, run),
    }),
    undo: async (tx, transfer, { result, ...run }) => {
      await removeFromTarget(tx, transfer, { ...run, former: result.former });
    },
  }),
  implementStep(removeSource, {
    bucket: (transfer) => sourceOf(transfer).bucket,
    run: async (tx, transfer, run) => ({
      kind: 'answered',
      value: await removeFromSource(tx, transfer, run),
    }),
    after: confirmEarly,
  }),
  implementStep(confirmTarget, {
    bucket: (transfer) => targetOf(transfer).bucket,
    run: async (tx, { crossing, ...transfer }, run) => {
      await confirmAtTarget(tx, transfer, run);
      return { kind: 'answered', value: crossing };
    },
  }),
];

/**
 * From the pivot's commit on the order is in nobody's list: confirms it at the target without waiting for the
 * orchestration's next turn.
 */
async function confirmEarly(
  services: Services,
  transfer: Transfer,
  { result: crossing, ...run }: StepRun & { readonly result: Crossing | null },
): Promise<void> {
  await confirmNow(services, { ...transfer, crossing }, { ...run, deadlineMs: EARLY_DEADLINE_MS });
}

/**
 * Confirms the pending order of a saga whose pivot is done, as the step that does it for certain, which then finds it
 * done. True when there was a pending row. Idempotent. Throws `shard-unavailable` (retryable).
 */
export function confirmNow(
  services: Services,
  { crossing, ...transfer }: Transfer & { readonly crossing: Crossing | null },
  { deadlineMs, ...run }: StepRun & { readonly deadlineMs: number },
): Promise<boolean> {
  const { bucket } = targetOf(transfer);
  const key: LedgerKey = { bucket, sagaId: run.sagaId, step: stepNameOf(confirmTarget) };
  return services.database.onOwner<boolean>(
    bucket,
    (shard) =>
      attemptInTransaction(shard, async (tx) => {
        const entry = await enterToRun(tx, key, run.nowMs);
        if (entry.kind === 'refused') return entry;
        const value = await confirmAtTarget(tx, transfer, run);
        // Also where an operator skipped the step: from here on the order is counted at its target.
        const isRecorded = entry.kind === 'new' || (entry.kind === 'sealed' && value);
        if (isRecorded) await recordResult(tx, key, crossing);
        return { kind: 'answered', value };
      }),
    { deadlineMs },
  );
}
