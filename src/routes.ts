import type { Route } from './http/handler.ts';
import { ingestionRoutes } from './ingestion/http.ts';
import { poisonRoutes } from './ingestion/poison-http.ts';
import { maintenanceRoutes } from './maintenance/http.ts';
import { openApiRoute, operationsRoutes } from './operations/http.ts';
import { ordersRoutes } from './orders/http.ts';
import { transfersPurger } from './orders/purge-transfers.ts';
import { ordersSagaModules, ordersSettlers } from './orders/sagas.ts';
import { rebalancingRoutes } from './rebalancing/http.ts';
import { revenueRoutes } from './revenue/http.ts';
import { sagasRoutes } from './sagas/http.ts';
import { sagaOperationsRoutes } from './sagas/ops-http.ts';
import type { SweepParts } from './sagas/sweep.ts';
import { usersRoutes } from './users/http.ts';
import { directoryPurger } from './users/purge-directory.ts';
import { usersSagaModules, usersSettlers } from './users/sagas.ts';
import { verificationRoutes } from './verification/http.ts';

/** What the slices bring for sagas. */
export const sagaParts: SweepParts = {
  modules: [...usersSagaModules, ...ordersSagaModules],
  settlers: [...usersSettlers, ...ordersSettlers],
  purgers: [directoryPurger, transfersPurger],
};

/** Every HTTP route of the app: what is registered, described by OpenAPI and shown in `examples`. */
export const allRoutes: readonly Route[] = [
  ...usersRoutes,
  ...ordersRoutes,
  ...ingestionRoutes,
  ...sagasRoutes(sagaParts.modules),
  ...revenueRoutes,
  ...operationsRoutes,
  ...poisonRoutes,
  ...sagaOperationsRoutes(sagaParts),
  ...verificationRoutes,
  ...rebalancingRoutes,
  ...maintenanceRoutes,
  openApiRoute(() => allRoutes),
];
