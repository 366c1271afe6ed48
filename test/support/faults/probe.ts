import { appendFileSync, existsSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorCode, PermanentError, RetryableError } from '../../../src/kernel/errors.ts';
import type { Probe } from '../../../src/kernel/probe.ts';
import { FOLDERS, type Hit, HITS_FILE, token, type Token } from './plan.ts';

const LOOK_EVERY_MS = 20;
/** A pause that nobody releases fails the step instead of holding its connection for ever. */
const PAUSE_LIMIT_MS = 180_000;

/** A probe that acts on the faults in `folder`: of those that fit the oldest, and every note. */
export function createFaultProbe(folder: string): Probe {
  const tokens = new Map<string, Token>();
  const armed = path.join(folder, FOLDERS.armed);
  const read = (file: string): Token | undefined => {
    try {
      const text = (): unknown => JSON.parse(readFileSync(path.join(armed, file), 'utf8'));
      const known = tokens.get(file) ?? token.parse(text());
      tokens.set(file, known);
      return known;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  };
  /** False when another came first. */
  const spend = (file: string): boolean => {
    try {
      renameSync(path.join(armed, file), path.join(folder, FOLDERS.spent, file));
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  };
  const writeDown = (entry: Hit): void =>
    appendFileSync(path.join(folder, HITS_FILE), `${JSON.stringify(entry)}\n`);
  return {
    reach: async (point, subject = '', detail = null) => {
      let due: Token | undefined;
      for (const file of readdirSync(armed).toSorted()) {
        const found = read(file);
        if (found === undefined || !fits(found, point, subject)) continue;
        const isNote = found.action === 'note';
        if (!isNote && due !== undefined) continue;
        if (!found.isLasting && !spend(file)) continue;
        if (!isNote) due = found;
        writeDown({ id: found.id, point, subject, action: found.action, detail });
      }
      if (due !== undefined) await act(folder, due);
    },
  };
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

function fits(fault: Token, point: string, subject: string): boolean {
  if (fault.point !== point) return false;
  return fault.isPattern ? new RegExp(fault.subject).test(subject) : fault.subject === subject;
}

async function act(folder: string, fault: Token): Promise<void> {
  const code = fault.code as ErrorCode | undefined;
  switch (fault.action) {
    case 'exit':
      process.kill(process.pid, 'SIGKILL');
      // The signal may come a moment later; nothing of this process may happen in between.
      for (;;);
    case 'transient':
      throw new RetryableError(code ?? 'shard-unavailable', 'A fault was injected here.');
    case 'permanent':
      throw new PermanentError(code ?? 'conflict', 'A fault was injected here.');
    case 'pause': {
      const released = path.join(folder, FOLDERS.released, fault.id);
      const until = performance.now() + PAUSE_LIMIT_MS;
      while (!existsSync(released)) {
        if (performance.now() > until) throw new Error(`nobody released the pause ${fault.id}`);
        await sleep(LOOK_EVERY_MS);
      }
      return;
    }
    case 'note':
      return;
  }
}
