import { defineConfig } from 'vitest/config';

/**
 * They are about the storage account or the sign-in alone: once is enough, whatever the engine. Each runs with the engine
 * whose tests would else be done first.
 */
const ONLY_WITH = {
  mysql: ['bucket-map', 'deploy-sign-in', 'rebalance-plans', 'storage'],
  mariadb: ['worker-leases'],
} as const;

function ofTheOther(engine: keyof typeof ONLY_WITH): string[] {
  const names = ONLY_WITH[engine === 'mysql' ? 'mariadb' : 'mysql'];
  return names.map((name) => `test/integration/${name}.test.ts`);
}

/**
 * One project per kind of test, so that each can be run alone (`vitest run --project unit`).
 * `unit` does no I/O; the others start real servers through their global set-up. `isolate: false`:
 * files share their modules, which hold no state; loading them anew took most of the time of `unit`.
 */
export default defineConfig({
  test: {
    // By default one less than the machine has cores, which on two cores is one.
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          isolate: false,
          // Only a guard: it runs beside the integration projects.
          testTimeout: 30_000,
          setupFiles: ['test/support/seed.ts'],
        },
      },
      {
        test: {
          name: 'host',
          setupFiles: ['test/support/seed.ts'],
          include: ['test/host/**/*.test.ts'],
          exclude: ['test/host/apps/**'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      ...(['mysql', 'mariadb'] as const).map((engine) => ({
        test: {
          name: `integration-${engine}`,
          setupFiles: ['test/support/seed.ts'],
          include: ['test/integration/**/*.test.ts'],
          exclude: ofTheOther(engine),
          env: { TEST_ENGINE: engine },
          globalSetup: ['test/support/cluster-setup.ts'],
          fileParallelism: false,
          isolate: false,
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      })),
      {
        test: {
          name: 'bench',
          setupFiles: ['test/support/seed.ts'],
          include: ['test/bench/**/*.test.ts'],
          testTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'e2e',
          setupFiles: ['test/support/seed.ts'],
          include: ['test/e2e/**/*.test.ts'],
          env: { TEST_ENGINE: 'mysql' },
          globalSetup: ['test/support/cluster-setup.ts'],
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'chaos',
          setupFiles: ['test/support/seed.ts'],
          include: ['test/chaos/**/*.test.ts'],
          env: { TEST_ENGINE: 'mysql' },
          globalSetup: ['test/support/cluster-setup.ts'],
          fileParallelism: false,
          testTimeout: 900_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
