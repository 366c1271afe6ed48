import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { registerDurable, type DurableApp } from '../../../src/durable/register.ts';
import { silentLogger } from '../../support/drive-orchestrator.ts';
import { createFakeServices } from '../../support/fake-services.ts';
import { driveSaga } from './saga-drive.ts';
import { giftsDurable, giftsSagaModule, sendGift } from './saga-example.ts';
import { SagaWorld } from './saga-world.ts';

const REGION = /\/\/ #region (\w+)\n([^]*?)\/\/ #endregion/g;
const BLOCK = /```ts\n([^]*?)```/g;

const input = { from: '1001', to: '2002', points: 5 };
const world = (plan: ConstructorParameters<typeof SagaWorld>[0] = {}) =>
  new SagaWorld(plan, (step) => (step === 'add-points' ? { total: 12 } : null));

describe('the worked example', () => {
  it('is what docs/sagas.md shows', () => {
    const code = readFileSync('test/unit/durable/saga-example.ts', 'utf8');
    const regions = [...code.matchAll(REGION)].map((match) => match[2]);
    const blocks = [...readFileSync('docs/sagas.md', 'utf8').matchAll(BLOCK)];
    expect(blocks.map((match) => match[1])).toEqual(regions);
    expect(regions).toHaveLength(4);
  });

  it('is complete: each contract has its code', () => {
    const names: string[] = [];
    const note = (name: string) => names.push(name) as never;
    const app: DurableApp = { activity: note, orchestration: note };
    registerDurable({ ...createFakeServices(), logger: silentLogger }, [giftsDurable], app);
    expect(names).toContain('saga-send-gift');
    expect(giftsSagaModule.message.safeParse(input).success).toBe(true);
  });

  it('gives the points', async () => {
    const { outcome } = await driveSaga(sendGift, world(), { input });
    expect(outcome).toEqual({ kind: 'completed', value: { total: 12 } });
  });

  it('takes back what it held when there is no such user', async () => {
    const here = world({ 'add-points/run': ['refuse'] });
    const { outcome } = await driveSaga(sendGift, here, { input });
    expect(outcome.kind).toBe('compensated');
    expect(here.log).toEqual(['run hold-points', 'undo hold-points']);
  });
});
