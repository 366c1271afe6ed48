import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Linux counts processor time in hundredths of a second, whatever its own clock does (`USER_HZ`). */
const MS_PER_TICK = 10;

/** Processor time that these processes have used so far, all threads, milliseconds. NaN where there is no `/proc`. */
export function cpuOfProcessesMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + cpuOfProcessMs(pid), 0);
}

function cpuOfProcessMs(pid: number): number {
  try {
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th field behind it.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK;
  } catch {
    return Number.NaN;
  }
}

/** Processor time of this process so far, milliseconds. */
export function ownCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** What this process holds on its heap once everything that nobody needs any more is gone, MB. */
export function heapMb(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed / 1024 / 1024;
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}
