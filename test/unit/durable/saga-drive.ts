import { expect } from 'vitest';
import { unwrap } from '../../../src/durable/envelope.ts';
import type { SagaDefinition } from '../../../src/durable/saga/definition.ts';
import { implementSaga } from '../../../src/durable/saga/run-saga.ts';
import type { SagaOutcome } from '../../../src/durable/saga/view.ts';
import {
  driveOrchestrator,
  type DriveOptions,
  type DriveResult,
} from '../../support/drive-orchestrator.ts';
import type { SagaWorld } from './saga-world.ts';

/** Runs a saga to its end through the SDK's replay executor, in a world of its own. */
export async function driveSaga<Input, Output>(
  saga: SagaDefinition<Input, Output>,
  world: SagaWorld,
  options: Partial<DriveOptions> & {
    readonly mode?: 'run' | 'recover';
    readonly input?: unknown;
  } = {},
): Promise<{ readonly outcome: SagaOutcome; readonly result: DriveResult }> {
  const { mode = 'run', input = { any: 'thing' }, ...rest } = options;
  const result = await driveOrchestrator(
    saga.orchestration.name,
    { mode, input },
    { orchestrations: [implementSaga(saga)], activities: world.activities(saga), ...rest },
  );
  expect(result.error).toBeUndefined();
  return { outcome: unwrap(saga.orchestration, result.output), result };
}
