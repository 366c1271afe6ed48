import type { CircuitBreaker } from '../src/database/circuit-breaker.ts';
import type { ConnectionPool } from '../src/database/connection-pool.ts';
import type { DriverConnection } from '../src/database/connection.ts';
import { GroupWriters } from '../src/database/group-writer.ts';
import { createShard } from '../src/database/shard.ts';
import { createShardTelemetry } from '../src/database/shard-telemetry.ts';
import type { ShardId } from '../src/kernel/ids.ts';
import { noopTelemetry, type Telemetry } from '../src/kernel/telemetry.ts';

export const TELEMETRY_HELP = `  telemetry   what one statement costs this process with telemetry off, on, and sampled; no servers
`;

const STATEMENTS = 100_000;
const ROUNDS = 5;
const INSERT = 'INSERT INTO orders (bucket, order_id) VALUES (?, ?)';

/** Time of one statement whose server answers at once: what is left is our own work. */
async function statementNs(telemetry: Telemetry): Promise<number> {
  const connection: DriverConnection = {
    usable: true,
    run: () => Promise.resolve({ affectedRows: 1, insertId: 0 }),
    destroy: () => undefined,
    end: () => Promise.resolve(),
  };
  const pool: ConnectionPool = {
    with: (_waitMs, use) => use(connection),
    retire: () => undefined,
    use: () => ({ open: 1, idle: 0, waiting: 0, limit: 1 }),
    close: () => Promise.resolve(),
  };
  const id = 0 as ShardId;
  const pools = { single: pool, batch: pool };
  const breaker = { state: () => 'closed' } as CircuitBreaker;
  const shard = createShard(
    {
      id,
      name: 'bench',
      pools,
      acquireTimeoutMs: 1_000,
      statementTimeoutMs: 1_000,
      remainingMs: () => 1_000,
      telemetry: createShardTelemetry(telemetry, id, { pools, breaker }),
    },
    new GroupWriters(id, 1),
  );
  const times: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const startedMs = performance.now();
    for (let n = 0; n < STATEMENTS; n++) await shard.execute(INSERT, [1, 2]);
    times.push(((performance.now() - startedMs) / STATEMENTS) * 1e6);
  }
  // The first round warms up; the fastest of the others was disturbed least.
  return Math.min(...times.slice(1));
}

/** Prints what telemetry costs per statement. */
export async function benchTelemetry(): Promise<void> {
  const off = await statementNs(noopTelemetry);
  const { createOpenTelemetry } = await import('../src/telemetry/open-telemetry.ts');
  const { inBackground } = await import('../src/telemetry/exporters.ts');
  const { quietExporters, benchSettings } = await import('./quiet-exporters.ts');
  const make = (samplePercent: number): Telemetry =>
    createOpenTelemetry({
      ...inBackground(quietExporters, benchSettings),
      samplePercent,
      closeTimeoutMs: 1_000,
      serviceInstance: 'bench',
      hostReportsRequests: false,
    });
  const rows: [string, number][] = [['off', off]];
  for (const percent of [0, 10, 100]) {
    const telemetry = make(percent);
    rows.push([`on, ${percent} % sampled`, await statementNs(telemetry)]);
    await telemetry.close();
  }
  console.log(`One statement, without its server (${STATEMENTS} times, best of ${ROUNDS} rounds):`);
  for (const [name, ns] of rows)
    console.log(`  ${name.padEnd(20)} ${ns.toFixed(0).padStart(8)} ns`);
}
