import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';

/**
 * A process, told apart from a later one that was given the same number: `startedAt` differs between
 * the two. On Linux it is the boot id and the start in clock ticks (proc(5), `stat` field 22),
 * elsewhere the start time ps(1) shows.
 */
export const processIdentitySchema = z.object({
  pid: z.int().positive(),
  startedAt: z.string().min(1),
});

export type ProcessIdentity = z.infer<typeof processIdentitySchema>;

const POLL_MS = 20;
/** A thread that waits for the disk stops when it has its answer. */
const FREEZE_LIMIT_MS = 2_000;
const HAS_PROC = existsSync('/proc/self/stat');
/** Position of `starttime` counted from the field after the command name. */
const START_TIME_FIELD = 19;

/** The identity of a running process; `undefined` when there is none or it only awaits its parent. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  const startedAt = HAS_PROC ? startFromProc(pid) : startFromPs(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** True while exactly this process runs. */
export function isAlive(identity: ProcessIdentity | undefined): boolean {
  return identity !== undefined && identityOf(identity.pid)?.startedAt === identity.startedAt;
}

/** Finds a process that was started with all of these arguments (its program counts as one). */
export function findByArguments(wanted: readonly string[]): ProcessIdentity | undefined {
  return findProcesses((line) => wanted.every((argument) => line.holds(argument)))[0];
}

/** Finds all processes that have `argument` and another one that begins with `prefix`. */
export function findByPrefix(prefix: string, argument: string): ProcessIdentity[] {
  return findProcesses((line) => line.holds(argument) && line.holdsPrefix(prefix));
}

function findProcesses(matches: (line: CommandLine) => boolean): ProcessIdentity[] {
  return (HAS_PROC ? commandLinesFromProc() : commandLinesFromPs())
    .filter((line) => line.pid !== process.pid && matches(line))
    .flatMap(({ pid }) => identityOf(pid) ?? []);
}

/** Sends a signal to exactly this process. False when it has ended. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}

/**
 * Freezes exactly this process (`SIGSTOP`) and waits until each of its threads has stood still: on a busy machine one may
 * still answer a moment after the signal. Without `/proc` nobody can tell. False when it has ended.
 */
export async function freezeProcess(identity: ProcessIdentity): Promise<boolean> {
  if (!signalProcess(identity, 'SIGSTOP')) return false;
  const deadline = performance.now() + FREEZE_LIMIT_MS;
  while (HAS_PROC && !standsStill(identity.pid) && performance.now() < deadline) {
    await sleep(POLL_MS);
  }
  return true;
}

/** Waits until the process has ended. False when it still runs after `timeoutMs`. */
export async function waitForEnd(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (isAlive(identity)) {
    if (performance.now() > deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/**
 * Ends a process: asks it to (`SIGTERM`), and after `graceMs` makes it (`SIGKILL`). A frozen process
 * is thawed so that it can answer. Returns how it ended; a process that is gone counts as `clean`.
 */
export async function endProcess(
  identity: ProcessIdentity,
  graceMs: number,
): Promise<'clean' | 'killed'> {
  signalProcess(identity, 'SIGTERM');
  signalProcess(identity, 'SIGCONT');
  if (await waitForEnd(identity, graceMs)) return 'clean';
  await killProcess(identity);
  return 'killed';
}

/** Ends a process at once, as a power cut would (`SIGKILL`), and waits until it is gone. */
export async function killProcess(identity: ProcessIdentity): Promise<void> {
  signalProcess(identity, 'SIGKILL');
  await waitForEnd(identity, 10_000);
}

function startFromProc(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command name may hold spaces and brackets; the fields after its last bracket are plain.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'X' || (fields[0] === 'Z' && !hasOtherThreads(pid))) return undefined;
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot}:${fields[START_TIME_FIELD]}`;
  } catch {
    return undefined;
  }
}

function standsStill(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) => {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      return 'TtZX'.includes(stat.charAt(stat.lastIndexOf(')') + 2));
    });
  } catch {
    return false; // A thread has ended between the two looks.
  }
}

/** A killed server shows as ended while threads of it still hold its files, locks and sockets. */
function hasOtherThreads(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).length > 1;
}

function startFromPs(pid: number): string | undefined {
  try {
    const args = ['-o', 'stat=,lstart=', '-p', String(pid)];
    const shown = execFileSync('ps', args, { encoding: 'utf8', stdio: 'pipe' }).trim();
    return shown === '' || shown.startsWith('Z') ? undefined : shown.replace(/^\S+\s+/, '');
  } catch {
    return undefined;
  }
}

interface CommandLine {
  readonly pid: number;
  readonly holds: (argument: string) => boolean;
  readonly holdsPrefix: (prefix: string) => boolean;
}

function commandLinesFromProc(): CommandLine[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const args = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      return [
        {
          pid: Number(name),
          holds: (argument: string) => args.includes(argument),
          holdsPrefix: (prefix: string) => args.some((argument) => argument.startsWith(prefix)),
        },
      ];
    } catch {
      return [];
    }
  });
}

/** ps(1) joins arguments with spaces, so an argument is looked for in the whole line. */
function commandLinesFromPs(): CommandLine[] {
  const lines = execFileSync('ps', ['-axww', '-o', 'pid=,command='], { encoding: 'utf8' });
  return lines.split('\n').flatMap((line) => {
    const match = /^\s*(\d+)\s+(.*)$/.exec(line);
    if (match === null) return [];
    const command = ` ${match[2]} `;
    return [
      {
        pid: Number(match[1]),
        holds: (argument: string) => command.includes(` ${argument} `),
        holdsPrefix: (prefix: string) => command.includes(` ${prefix}`),
      },
    ];
  });
}
