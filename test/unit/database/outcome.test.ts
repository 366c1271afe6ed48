import { describe, expect, test } from 'vitest';
import { DatabaseError } from '../../../src/database/database-error.ts';
import type { FailureKind } from '../../../src/database/mysql-errors.ts';
import { createWriteMemory } from '../../../src/database/outcome.ts';
import { PermanentError } from '../../../src/kernel/errors.ts';

describe('createWriteMemory', () => {
  test.each<[FailureKind, boolean]>([
    ['lost', true],
    ['timeout', true],
    ['deadline', true],
    ['contention', false],
    ['hindered', false],
    ['unreachable', false],
    ['crowded', false],
    ['read-only', false],
    ['duplicate', false],
    ['rejected', false],
  ])('after a try that ended in %s: %s', async (kind, mayHaveWritten) => {
    const memory = createWriteMemory();
    const error = new DatabaseError(kind);
    await expect(memory.watch(() => Promise.reject(error))).rejects.toBe(error);
    expect(memory.mayHaveWritten).toBe(mayHaveWritten);
  });

  test('does not forget, and takes an answer or an error of ours for what it is', async () => {
    const memory = createWriteMemory();
    expect(await memory.watch(() => Promise.resolve(1))).toBe(1);
    const conflict = new PermanentError('order-conflict', 'No.');
    await expect(memory.watch(() => Promise.reject(conflict))).rejects.toBe(conflict);
    expect(memory.mayHaveWritten).toBe(false);
    await memory.watch(() => Promise.reject(new DatabaseError('lost'))).catch(() => undefined);
    await memory.watch(() => Promise.resolve(1));
    expect(memory.mayHaveWritten).toBe(true);
  });
});
