import { describe, expect, it } from 'vitest';
import { explore } from '../../support/protocol/explore.ts';
import type { Exploration } from '../../support/protocol/explore.ts';
import { FOUND, LEAST_SCENE, LONG_SCENES, SCENES } from '../../support/protocol/scenes.ts';
import type { Bounds } from '../../support/protocol/state.ts';

const LONG = process.env['TEST_LONG'] === '1';
/** A scene that grows beyond this is no longer explored to its end, and fails. */
const MAX_STATES = LONG ? 6_000_000 : 400_000;
const LIMIT_MS = LONG ? 900_000 : 60_000;

/** The protocol of docs/protocol/bucket-move.md: every order of events within the bounds. PROTOCOL_TRACE=1 prints the traces. */
describe('the protocol of a move', () => {
  const scenes: readonly (readonly [string, Bounds])[] = Object.entries({
    ...SCENES,
    ...(LONG ? LONG_SCENES : {}),
  });

  it.each(scenes)(
    'keeps all invariants: %s',
    (name, bounds) => {
      const found = explore({ bounds, maxStates: MAX_STATES });
      print(`${name} ${JSON.stringify(bounds)}`, found);
      expect(found.violation).toBeUndefined();
      expect(found.complete).toBe(true);
    },
    LIMIT_MS,
  );

  it.each(FOUND)(
    'would not survive %s',
    (fault, bounds, invariant) => {
      const found = explore({ bounds, faults: [fault], maxStates: MAX_STATES });
      print(`${fault}: ${found.violation?.invariant ?? 'nothing'}`, found);
      if (process.env['PROTOCOL_TRACE'] === '1') {
        process.stdout.write(`  ${found.violation?.trace.join('\n  ') ?? ''}\n`);
      }
      expect(found.violation?.invariant).toMatch(invariant);
    },
    LIMIT_MS,
  );

  it('does not rely on clocks: a fence lifted too early costs time only', () => {
    const bounds = { ...LEAST_SCENE, deliveries: 2 };
    const found = explore({ bounds, faults: ['lift-without-clock'], maxStates: MAX_STATES });
    print('lift-without-clock: nothing', found);
    expect(found).toMatchObject({ violation: undefined, complete: true });
  });
});

function print(what: string, { states, transitions, violation }: Exploration): void {
  const steps = violation === undefined ? '' : `, found after ${violation.trace.length} steps`;
  process.stdout.write(`${what}: ${states} states, ${transitions} transitions${steps}\n`);
}
