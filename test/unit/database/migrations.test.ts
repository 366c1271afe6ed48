import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseMigration } from '../../../src/database/migration-files.ts';
import type { Migration } from '../../../src/database/migration-files.ts';
import { planMigrations } from '../../../src/database/migrations.ts';
import type { AppliedMigration } from '../../../src/database/migrations.ts';

const FILES = [1, 2, 3, 4].map((version) =>
  parseMigration(`000${version}_step.sql`, `SELECT ${version}; SELECT 0`),
);

function applied(each: Migration, finished = true): AppliedMigration {
  const { version, name, checksum } = each;
  return {
    version,
    name,
    checksum,
    begun: 1,
    done: finished ? 2 : 0,
    finished,
    compatibleWith: each.compatibleWith,
  };
}

const file = (version: number): Migration => FILES[version - 1] as Migration;
const clash = (text: string) => ({
  kind: 'clash',
  problem: expect.stringContaining(text) as string,
});

describe('planMigrations', () => {
  it('leaves what is not applied, in order, with an unfinished one first', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4 }), fc.boolean(), (finished, unfinished) => {
        const rows = FILES.slice(0, finished).map((each) => applied(each));
        const next = FILES[finished];
        if (unfinished && next !== undefined) rows.push(applied(next, false));
        expect(planMigrations(FILES, rows)).toEqual({
          kind: 'pending',
          migrations: FILES.slice(finished),
        });
      }),
    );
  });

  it('refuses a version that this build does not have', () => {
    const rows = FILES.map((each) => applied(each));
    expect(planMigrations(FILES.slice(0, 3), rows)).toEqual(clash('a newer build has been here'));
  });

  it('goes on with newer versions that say this build may, applied or being applied', () => {
    const newer = (compatibleWith: number) => ({ ...file(4), compatibleWith });
    const known = FILES.slice(0, 3);
    const before = known.map((each) => applied(each));
    const nothing = { kind: 'pending', migrations: [] };
    for (const finished of [true, false]) {
      expect(planMigrations(known, [...before, applied(newer(3), finished)])).toEqual(nothing);
      expect(planMigrations(known, [...before, applied(newer(4), finished)])).toEqual(
        clash('a newer build has been here'),
      );
    }
    const older = FILES.slice(0, 2);
    const both = [...before.slice(0, 2), applied({ ...file(3), compatibleWith: 2 })];
    expect(planMigrations(older, [...both, applied(newer(2))])).toEqual(nothing);
    expect(planMigrations(older, [...both, applied(newer(3))])).toEqual(clash('version 4'));
  });

  it('refuses a file that has changed, applied or half applied', () => {
    const changed = { ...file(2), checksum: 'f'.repeat(64) };
    expect(planMigrations(FILES, [applied(file(1)), applied(changed)])).toEqual(
      clash('0002_step has changed since it was applied'),
    );
    expect(planMigrations(FILES, [applied(file(1)), applied(changed, false)])).toEqual(
      clash('0002_step has changed since it was begun'),
    );
  });

  it('refuses a gap and an unfinished one below another', () => {
    expect(planMigrations(FILES, [applied(file(1)), applied(file(3))])).toEqual(
      clash('migration 2 (0002_step) was never applied'),
    );
    expect(planMigrations(FILES, [applied(file(1), false), applied(file(2))])).toEqual(
      clash('0001_step was left unfinished'),
    );
  });
});
