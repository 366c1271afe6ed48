import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openHostStore, type Claim, type HostStore } from '../../../local/host/host-store.ts';

const claim = (messageId: string, popReceipt = 'p'): Claim => ({
  connection: 'Orders',
  queue: 'orders',
  messageId,
  popReceipt,
});

let folder: string;
let store: HostStore;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'host-store-'));
  store = openHostStore(folder);
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true, force: true });
});

const ids = (opened: HostStore): string[] => opened.claims().map(({ messageId }) => messageId);

/** What a host that starts after a crash finds. */
function afterCrash(): string[] {
  const next = openHostStore(folder);
  try {
    return ids(next);
  } finally {
    next.close();
  }
}

test('claims are there after a crash as soon as they were saved', () => {
  store.saveClaims([claim('a'), claim('b')]);
  expect(afterCrash()).toEqual(['a', 'b']);
});

test('dropped claims are gone at once, and after a crash from the next claims on', () => {
  store.saveClaims([claim('a'), claim('b')]);
  store.dropClaim('a');
  expect(afterCrash()).toEqual(['a', 'b']);
  store.saveClaims([claim('c')]);
  expect(afterCrash()).toEqual(['b', 'c']);
  store.dropClaim('b');
  expect(ids(store)).toEqual(['c']);
});

test('a message that was given back and comes again is claimed anew', () => {
  store.saveClaims([claim('a', 'first')]);
  store.dropClaim('a');
  store.saveClaims([claim('a', 'second')]);
  store.saveClaims([]);
  expect(store.claims()).toEqual([claim('a', 'second')]);
});

test('what was dropped is gone after an orderly end', () => {
  store.saveClaims([claim('a')]);
  store.dropClaim('a');
  store.close();
  store = openHostStore(folder);
  expect(ids(store)).toEqual([]);
});
