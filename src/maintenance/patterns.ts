import type { Work } from './model.ts';

/** One part of MAINTENANCE_INCLUDE or MAINTENANCE_EXCLUDE. */
export type TablePattern =
  | { readonly kind: 'registered' }
  | {
      readonly kind: 'names';
      readonly schema: RegExp;
      readonly table: RegExp;
      /** Null: every action. */
      readonly action: Work | null;
    };

/**
 * Reads `[schema.]table[:action]` patterns, separated by commas; `*` stands for any characters, `?` for any one, and
 * `registered` for the tables this build knows. The text was checked by the settings. Pure.
 */
export function parsePatterns(text: string): readonly TablePattern[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part) => {
      if (part === 'registered') return { kind: 'registered' };
      const [names = '', action] = part.split(':');
      const [schema, table] = names.includes('.') ? names.split('.') : ['*', names];
      return {
        kind: 'names',
        schema: wildcard(schema ?? '*'),
        table: wildcard(table ?? '*'),
        action: (action ?? null) as Work | null,
      };
    });
}

export interface PatternSubject {
  readonly schema: string;
  readonly table: string;
  readonly isRegistered: boolean;
}

/** Whether one of the patterns is about the table and the action. Pure. */
export function matchesPattern(
  patterns: readonly TablePattern[],
  subject: PatternSubject,
  action: Work,
): boolean {
  return patterns.some((pattern) => {
    if (pattern.kind === 'registered') return subject.isRegistered;
    if (pattern.action !== null && pattern.action !== action) return false;
    return pattern.schema.test(subject.schema) && pattern.table.test(subject.table);
  });
}

function wildcard(text: string): RegExp {
  const source = text
    .replaceAll(/[$.+^(){}|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 'u');
}
