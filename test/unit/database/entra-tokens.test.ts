import { describe, expect, it } from 'vitest';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createTestIdentity } from '../../support/entra-world.ts';

function world() {
  const clock = createFakeClock();
  const identity = createTestIdentity(clock);
  const ask = async () => (await identity.source.token(5_000)).text;
  return { clock, identity, ask };
}

const UNAVAILABLE = { code: 'shard-unavailable', retryable: true };

describe('the token source', () => {
  it('asks once for all connections that open at once', async () => {
    const { identity, ask } = world();
    identity.takesMs = 20;
    expect(new Set(await Promise.all(Array.from({ length: 50 }, ask)))).toEqual(
      new Set(['token-1']),
    );
    expect(identity.given).toBe(1);
  });

  it('gives a new token before the old one ends', async () => {
    const { clock, identity, ask } = world();
    identity.lifeMs = 300_000;
    expect(await ask()).toBe('token-1');
    await clock.advance(179_999);
    expect(await ask()).toBe('token-1');
    await clock.advance(1);
    expect(await ask()).toBe('token-2');
  });

  it('goes on with a token that lives while no new one can be had, and not a moment longer', async () => {
    const { clock, identity, ask } = world();
    identity.lifeMs = 300_000;
    await ask();
    identity.state = 'down';
    await clock.advance(200_000);
    expect(await ask()).toBe('token-1');
    await clock.advance(70_000);
    await expect(ask()).rejects.toMatchObject(UNAVAILABLE);
    identity.state = 'up';
    expect(await ask()).toBe('token-2');
  });

  it('gives another token after one was refused, and keeps it when an older one is', async () => {
    const { identity, ask } = world();
    const first = await identity.source.token(5_000);
    identity.source.refuse(first);
    expect(await ask()).toBe('token-2');
    identity.source.refuse(first);
    expect(await ask()).toBe('token-2');
  });

  it('is told unavailable in time when the identity service is silent, and recovers', async () => {
    const { clock, identity, ask } = world();
    identity.state = 'silent';
    const asked = expect(ask()).rejects.toMatchObject({
      ...UNAVAILABLE,
      message: expect.not.stringContaining('endpoint') as string,
    });
    await clock.advance(5_000);
    await asked;
    identity.state = 'up';
    expect(await ask()).toBe('token-1');
    expect(clock.waiting()).toBe(0);
  });

  it('does not use a token that has ended already', async () => {
    const { identity, ask } = world();
    identity.lifeMs = 30_000;
    await expect(ask()).rejects.toMatchObject({
      ...UNAVAILABLE,
      cause: expect.objectContaining({
        message: expect.stringContaining('clock') as string,
      }) as Error,
    });
  });
});
