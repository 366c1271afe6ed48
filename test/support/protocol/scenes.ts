import type { Fault } from './faults.ts';
import type { Bounds } from './state.ts';

const LEAST: Bounds = {
  rows: [1],
  writes: 1,
  writers: 1,
  deliveries: 1,
  cancels: 0,
  healers: 0,
  purgers: 0,
  adrift: 0,
  moves: 1,
};

/** What is explored: the protocol's actors in groups, since all at once are too many states. */
export const SCENES = {
  'two writers, two rows, one delivery': { ...LEAST, rows: [1, 0], writes: 2, writers: 2 },
  'two deliveries, a caller that mends': { ...LEAST, deliveries: 2, healers: 1 },
  'one delivery, a late statement': { ...LEAST, adrift: 1 },
  'one delivery, a cancellation': { ...LEAST, cancels: 1 },
  'there and back': { ...LEAST, writes: 0, purgers: 1, healers: 1, moves: 2 },
} as const satisfies Readonly<Record<string, Bounds>>;

/** With TEST_LONG=1. */
export const LONG_SCENES = {
  'three writes by two writers': { ...LEAST, rows: [1, 0], writes: 3, writers: 2, healers: 1 },
  'two deliveries, a late statement': { ...LEAST, deliveries: 2, adrift: 1 },
  'a cancellation, a late statement': { ...LEAST, cancels: 1, adrift: 1 },
  'two deliveries, a cancellation': { ...LEAST, deliveries: 2, cancels: 1 },
  'a cancellation, there and back': { ...LEAST, cancels: 1, purgers: 1, moves: 2 },
  'a late statement, there and back': { ...LEAST, adrift: 1, purgers: 1, moves: 2 },
  'two late statements': { ...LEAST, adrift: 2 },
  'two deliveries, there and back': { ...LEAST, rows: [0], writes: 0, deliveries: 2, moves: 2 },
  'there and back with writes': { ...LEAST, purgers: 1, moves: 2 },
  'there, back, there': { ...LEAST, rows: [0], writes: 0, healers: 1, moves: 3 },
} as const satisfies Readonly<Record<string, Bounds>>;

/** In which scene a fault must be found, and as what. */
export const FOUND: readonly (readonly [Fault, Bounds, RegExp])[] = [
  ['target-first', LEAST, /two owners/],
  ['decide-without-token', { ...LEAST, deliveries: 2 }, /^(verification|I2|decided)/],
  ['decide-unfenced', LEAST, /^(verification|I1|I2)/],
  ['no-verification', LEAST, /verification/],
  ['no-renewal', { ...LEAST, adrift: 1 }, /^(verification|I2)/],
  ['write-without-token', { ...LEAST, adrift: 1 }, /^(verification|I2)/],
  ['write-unasserted', { ...LEAST, adrift: 1 }, /^(verification|I2|cancel)/],
  ['one-fence-token', { ...LEAST, adrift: 1 }, /^(verification|I2)/],
  ['one-claim-token', { ...LEAST, deliveries: 2, adrift: 1 }, /^(verification|I2)/],
  ['fence-ignores-writers', LEAST, /^I1: a write/],
  ['writers-ignore-fence', LEAST, /^I1: a write/],
  ['lift-decided', LEAST, /two owners|nobody can/],
  ['heal-without-epoch', { ...LEAST, rows: [0], writes: 0, healers: 1, moves: 3 }, /two owners/],
  ['heal-unseen', { ...LEAST, healers: 1 }, /two owners/],
  ['cancel-without-lift', { ...LEAST, cancels: 1 }, /nobody can|verification|cancel/],
  ['cancel-decided', { ...LEAST, cancels: 1 }, /nobody can|verification/],
  ['purge-unverified', { ...LEAST, purgers: 1 }, /verification/],
  ['purge-unasserted', { ...LEAST, purgers: 1, moves: 2 }, /^I2|contradiction/],
  ['purge-without-epoch', { ...LEAST, writes: 0, purgers: 2, moves: 3 }, /^(I2|verification)/],
  ['look-once', { ...LEAST, deliveries: 2 }, /contradiction/],
];

export const LEAST_SCENE = LEAST;
