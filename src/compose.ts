import { app } from '@azure/functions';
import { configFromEnvironment } from './config.ts';
import { createServices, type ServiceTools } from './create-services.ts';
import { durableClientInput, orchestrationClient } from './durable/client.ts';
import { registerDurable } from './durable/register.ts';
import { registerRoutes, type Route } from './http/handler.ts';
import { ingestionDurable } from './ingestion/activities.ts';
import { ingestionRoutes } from './ingestion/http.ts';
import { poisonRoutes } from './ingestion/poison-http.ts';
import { registerOrdersQueue } from './ingestion/queue.ts';
import { createJsonLogger } from './kernel/logger.ts';
import { openApiRoute, operationsRoutes } from './operations/http.ts';
import { ordersRoutes } from './orders/http.ts';
import { transfersPurger } from './orders/purge-transfers.ts';
import { ordersDurable, ordersSagaModules, ordersSettlers } from './orders/sagas.ts';
import { revenueDurable } from './revenue/activities.ts';
import { revenueRoutes } from './revenue/http.ts';
import { sagasRoutes } from './sagas/http.ts';
import { sagaOperationsRoutes } from './sagas/ops-http.ts';
import { registerSagasQueue } from './sagas/queue.ts';
import { sagasDurable } from './sagas/record.ts';
import { registerSagaSweep } from './sagas/sweep-timer.ts';
import type { SweepParts } from './sagas/sweep.ts';
import type { Services } from './services.ts';
import { checkAtStart } from './start-checks.ts';
import { usersRoutes } from './users/http.ts';
import { directoryPurger } from './users/purge-directory.ts';
import { usersDurable, usersSagaModules, usersSettlers } from './users/sagas.ts';
import { verificationDurable } from './verification/activities.ts';
import { verificationRoutes } from './verification/http.ts';

/** What the slices bring for sagas. */
const sagas: SweepParts = {
  modules: [...usersSagaModules, ...ordersSagaModules],
  settlers: [...usersSettlers, ...ordersSettlers],
  purgers: [directoryPurger, transfersPurger],
};

/**
 * Composes the app: settings → services → every slice registered. Opens no connection and waits for nothing; a bad
 * setting throws with a message that names it. `tools` is what tests replace; the deployed app takes the defaults.
 */
export function composeApp(tools: ServiceTools = {}): void {
  const config = configFromEnvironment();
  const logger = createJsonLogger({
    minimum: config.LOG_LEVEL,
    // The worker forwards the console to the platform's log; standard output alone would be lost on Azure.
    // oxlint-disable-next-line no-console
    write: (line) => console.log(line),
    nowMs: () => Date.now(),
  });
  const services = createServices(config, logger, tools);

  // Batches of up to 100 MB stream through; without this the worker would hold each body in memory whole.
  app.setup({ enableHttpStream: true });
  app.hook.appStart(() => checkAtStart(services));
  app.hook.appTerminate(() => services.close());

  const routes: Route[] = [
    ...usersRoutes,
    ...ordersRoutes,
    ...ingestionRoutes,
    ...operationsRoutes,
    ...revenueRoutes,
    ...poisonRoutes,
    ...sagasRoutes(sagas.modules),
    ...sagaOperationsRoutes(sagas),
    ...verificationRoutes,
    openApiRoute(() => routes),
  ];
  registerRoutes(app, services, routes, {
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
  ]);
  registerOrdersQueue(app, services);
  registerSagasQueue(app, services, sagas.modules);
  registerSagaSweep(app, services, sagas);
}
