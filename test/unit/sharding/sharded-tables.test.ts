import { describe, expect, it } from 'vitest';
import { SHARDED_TABLES } from '../../../src/sharding/sharded-tables.ts';

describe('the registry of sharded tables', () => {
  it.each(SHARDED_TABLES)(
    '$name: the key begins with the bucket and is made of its columns',
    (table) => {
      expect(table.primaryKey[0]).toBe('bucket');
      expect(table.columns).toEqual(expect.arrayContaining([...table.primaryKey]));
      expect(new Set(table.columns).size).toBe(table.columns.length);
    },
  );

  it('names each table once', () => {
    const names = SHARDED_TABLES.map((table) => table.name);
    expect(new Set(names).size).toBe(names.length);
  });
});
