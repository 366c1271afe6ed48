import { app } from '@azure/functions';
import { configFromEnvironment } from './config.ts';
import { createServices, type ServiceTools } from './create-services.ts';
import { durableClientInput, orchestrationClient } from './durable/client.ts';
import { registerDurable } from './durable/register.ts';
import { registerRoutes } from './http/handler.ts';
import { ingestionDurable } from './ingestion/activities.ts';
import { registerOrdersQueue } from './ingestion/queue.ts';
import { systemClock } from './kernel/clock.ts';
import { createJsonLogger } from './kernel/logger.ts';
import { withTraceIds } from './kernel/telemetry.ts';
import { maintenanceDurable } from './maintenance/activities.ts';
import { createMaintenanceEngine } from './maintenance/bind-engine.ts';
import { keepMaintenance } from './maintenance/runs.ts';
import { registerMaintenanceTimer } from './maintenance/timer.ts';
import { ordersDurable } from './orders/sagas.ts';
import { rebalancingDurable } from './rebalancing/activities.ts';
import { purgeShownPlans } from './rebalancing/purge-plans.ts';
import { keepRebalance } from './rebalancing/runs.ts';
import { revenueDurable } from './revenue/activities.ts';
import { allRoutes, sagaParts } from './routes.ts';
import { registerSagasQueue } from './sagas/queue.ts';
import { sagasDurable } from './sagas/record.ts';
import { registerSagaSweep } from './sagas/sweep-timer.ts';
import type { Services } from './services.ts';
import { checkAtStart } from './start-checks.ts';
import { traceInvocations } from './telemetry/invocations.ts';
import { startTelemetry } from './telemetry/start.ts';
import { usersDurable } from './users/sagas.ts';
import { verificationDurable } from './verification/activities.ts';

/**
 * Composes the app: settings → telemetry → services → every slice registered. Opens no connection and waits for nothing
 * but the code of telemetry, where it is on; a bad setting throws with a message that names it. `tools` is what tests
 * replace; the deployed app takes the defaults.
 */
export async function composeApp(tools: ServiceTools = {}): Promise<void> {
  const config = configFromEnvironment();
  const plainLogger = createJsonLogger({
    minimum: config.LOG_LEVEL,
    // The worker forwards the console to the platform's log; standard output alone would be lost on Azure.
    // oxlint-disable-next-line no-console
    write: (line) => console.log(line),
    nowMs: () => Date.now(),
  });
  const telemetry =
    tools.telemetry ?? (await startTelemetry({ config, logger: plainLogger, clock: systemClock }));
  const logger = telemetry.enabled ? withTraceIds(plainLogger, telemetry) : plainLogger;
  const services = createServices(config, logger, { ...tools, telemetry });

  // Batches of up to 100 MB stream through; without this the worker would hold each body in memory whole.
  app.setup({ enableHttpStream: true });
  if (telemetry.enabled) traceInvocations(app, telemetry);
  app.hook.appStart(() => checkAtStart(services));
  app.hook.appTerminate(() => services.close());

  registerRoutes(app, services, allRoutes, {
    input: durableClientInput,
    clientOf: orchestrationClient,
  });
  registerDurable<Services>(services, [
    ingestionDurable,
    revenueDurable,
    sagasDurable,
    usersDurable,
    ordersDurable,
    verificationDurable,
    rebalancingDurable,
    maintenanceDurable(createMaintenanceEngine),
  ]);
  registerOrdersQueue(app, services);
  registerSagasQueue(app, services, sagaParts.modules);
  registerSagaSweep(app, services, sagaParts, [
    keepRebalance,
    keepMaintenance,
    (services) => purgeShownPlans(services),
  ]);
  registerMaintenanceTimer(app, services);
}
