import type { Attempt, SqlRunner } from '../database/contracts.ts';
import { implement, type ActivityImplementation } from '../durable/implement.ts';
import type {
  CompensatableStep,
  FinalStep,
  StepAnswer,
  StepContract,
  StepDelivery,
} from '../durable/saga/step.ts';
import { checked } from '../durable/envelope.ts';
import { assertNever } from '../kernel/exhaustive.ts';
import { AppError, BugError, PermanentError } from '../kernel/errors.ts';
import type { BucketId } from '../kernel/ids.ts';
import { errorFields, type Logger } from '../kernel/logger.ts';
import { ATTRIBUTES, METRICS, SPANS } from '../kernel/telemetry-names.ts';
import type { Services } from '../services.ts';
import { stepErrorOf } from './model.ts';
import { attemptInTransaction } from './transaction.ts';
import {
  enterToRun,
  enterToSeal,
  enterToUndo,
  recordResult,
  type LedgerEntry,
  type LedgerKey,
} from './ledger.ts';

/** What the code of a step is told besides its input. */
export interface StepRun {
  readonly sagaId: string;
  /** The instance's clock, milliseconds since 1970. */
  readonly nowMs: number;
}

/** The code of a step. All of it runs in one transaction on the owner of `bucket`, behind fence and ledger. */
export interface StepCode<Input, Output> {
  readonly bucket: (input: Input) => BucketId;
  /**
   * The effect. Throws a `PermanentError` to refuse (the transaction is rolled back; the saga compensates), any
   * retryable error to be tried again. Returns a refusal when a further bucket it needs is not owned here.
   */
  readonly run: (tx: SqlRunner, input: Input, run: StepRun) => Promise<Attempt<Output>>;
  /**
   * What may follow the commit of a new effect, to be early; whatever it throws is logged and forgotten. A later step
   * does the same for certain.
   */
  readonly after?: (
    services: Services,
    input: Input,
    run: StepRun & { readonly result: Output },
  ) => Promise<void>;
}

export interface CompensatableStepCode<Input, Output> extends StepCode<Input, Output> {
  /** Takes back the effect of a step that was done and answered `result`. Must not fail for reasons of the domain. */
  readonly undo: (
    tx: SqlRunner,
    input: Input,
    run: StepRun & { readonly result: Output },
  ) => Promise<void>;
}

/** Binds code to a step that is never taken back. */
export function implementStep<Input, Output>(
  contract: FinalStep<Input, Output>,
  code: StepCode<Input, Output>,
): ActivityImplementation<Services> {
  return bind(contract, { ...code, undo: undefined });
}

/** Binds code to a step with a compensation. */
export function implementCompensatableStep<Input, Output>(
  contract: CompensatableStep<Input, Output>,
  code: CompensatableStepCode<Input, Output>,
): ActivityImplementation<Services> {
  return bind(contract, code);
}

type AnyCode<Input, Output> = StepCode<Input, Output> & {
  readonly undo: CompensatableStepCode<Input, Output>['undo'] | undefined;
};

function bind<Input, Output>(
  contract: StepContract<Input, Output>,
  code: AnyCode<Input, Output>,
): ActivityImplementation<Services> {
  return implement(contract.activity, (services: Services) => async (delivery, { logger }) => {
    const input = checked(contract.name, 'input', contract.input, delivery.input);
    const delivered = { contract, code, delivery, input };
    return services.telemetry.enabled
      ? await tracedStep(services, logger, delivered)
      : await deliverStep(services, logger, delivered);
  });
}

interface Delivered<Input, Output> {
  readonly contract: StepContract<Input, Output>;
  readonly code: AnyCode<Input, Output>;
  readonly delivery: StepDelivery;
  readonly input: Input;
}

async function tracedStep<Input, Output>(
  services: Services,
  logger: Logger,
  delivered: Delivered<Input, Output>,
): Promise<StepAnswer> {
  const { telemetry } = services;
  const { sagaId, step, verb } = delivered.delivery;
  const told = { [ATTRIBUTES.sagaStep]: step, [ATTRIBUTES.sagaVerb]: verb };
  const options = { inherited: { [ATTRIBUTES.saga]: sagaId, ...told } };
  return await telemetry.span(SPANS.sagaStep, options, async (span) => {
    const answer = await deliverStep(services, logger, delivered);
    const outcome = { [ATTRIBUTES.outcome]: answer.kind };
    telemetry.counter(METRICS.sagaSteps).add(1, { ...told, ...outcome });
    span.set(ATTRIBUTES.outcome, answer.kind);
    return answer;
  });
}

async function deliverStep<Input, Output>(
  services: Services,
  logger: Logger,
  delivered: Delivered<Input, Output>,
): Promise<StepAnswer> {
  const { code, delivery, input } = delivered;
  const { sagaId, step, verb } = delivery;
  const subject = `${sagaId}/${step}/${verb}`;
  try {
    const bucket = code.bucket(input);
    await services.probe.reach('sagas.beforeStep', subject, delivery);
    const answer = await services.database.onOwner<StepAnswer>(
      bucket,
      (shard) =>
        attemptInTransaction(shard, async (tx) => {
          const run = { sagaId, nowMs: services.clock.nowMs() };
          const attempt = await inTransaction(tx, delivered, {
            key: { bucket, sagaId, step },
            run,
          });
          await services.probe.reach('sagas.beforeCommit', subject);
          return attempt;
        }),
      { deadlineMs: services.config.SAGA_STEP_DEADLINE_MS },
    );
    await services.probe.reach('sagas.afterCommit', subject);
    if (code.after !== undefined && answer.kind === 'done' && verb === 'run' && !answer.replayed) {
      await early(services, logger, delivered, answer.value);
    }
    return answer;
  } catch (error) {
    if (!(error instanceof AppError) || error instanceof BugError) throw error;
    logger.log('warn', 'sagas.step_failed', {
      sagaId,
      sagaStep: step,
      verb,
      ...errorFields(error),
    });
    const kind = error instanceof PermanentError ? 'refused' : 'failed';
    return { kind, error: stepErrorOf(error) };
  }
}

interface InTransaction {
  readonly key: LedgerKey;
  readonly run: StepRun;
}

async function inTransaction<Input, Output>(
  tx: SqlRunner,
  delivered: Delivered<Input, Output>,
  { key, run }: InTransaction,
): Promise<Attempt<StepAnswer>> {
  const { verb } = delivered.delivery;
  switch (verb) {
    case 'run':
      return await runStep(tx, delivered, { key, run });
    case 'undo':
    case 'abandon': {
      const entry = await enterToUndo(tx, key, run.nowMs);
      if (entry.kind === 'refused') return entry;
      if (entry.kind === 'done' && verb === 'undo')
        await takeBack(tx, delivered, run, entry.result);
      return { kind: 'answered', value: { kind: 'undone' } };
    }
    case 'seal':
      return answerOf(await enterToSeal(tx, key, run.nowMs), { kind: 'sealed' });
    default:
      return assertNever(verb);
  }
}

async function runStep<Input, Output>(
  tx: SqlRunner,
  { contract, code, input }: Delivered<Input, Output>,
  { key, run }: InTransaction,
): Promise<Attempt<StepAnswer>> {
  const entry = await enterToRun(tx, key, run.nowMs);
  if (entry.kind !== 'new') return answerOf(entry, { kind: 'sealed' });
  const attempt = await code.run(tx, input, run);
  if (attempt.kind === 'refused') return attempt;
  const value = checked(contract.name, 'output', contract.output, attempt.value);
  await recordResult(tx, key, value);
  return { kind: 'answered', value: { kind: 'done', value: value ?? null, replayed: false } };
}

async function takeBack<Input, Output>(
  tx: SqlRunner,
  { contract, code, input }: Delivered<Input, Output>,
  run: StepRun,
  recorded: unknown,
): Promise<void> {
  if (code.undo === undefined) throw new BugError(`${contract.name} has no compensation`);
  const result = checked(contract.name, 'output', contract.output, recorded);
  await code.undo(tx, input, { ...run, result });
}

function answerOf(entry: LedgerEntry, ifNew: StepAnswer): Attempt<StepAnswer> {
  switch (entry.kind) {
    case 'refused':
      return entry;
    case 'new':
      return { kind: 'answered', value: ifNew };
    case 'done':
      return { kind: 'answered', value: { kind: 'done', value: entry.result, replayed: true } };
    case 'undone':
    case 'sealed':
      return { kind: 'answered', value: { kind: entry.kind } };
    default:
      return assertNever(entry);
  }
}

async function early<Input, Output>(
  services: Services,
  logger: Logger,
  { contract, code, delivery, input }: Delivered<Input, Output>,
  value: unknown,
): Promise<void> {
  try {
    const result = checked(contract.name, 'output', contract.output, value);
    const run = { sagaId: delivery.sagaId, nowMs: services.clock.nowMs(), result };
    await code.after?.(services, input, run);
  } catch (error) {
    logger.log('info', 'sagas.not_early', { sagaId: delivery.sagaId, ...errorFields(error) });
  }
}
