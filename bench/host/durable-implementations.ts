import { call } from '../../src/durable/call.ts';
import { fanOut } from '../../src/durable/fan-out.ts';
import { implement, implementOrchestration } from '../../src/durable/implement.ts';
import { chain, fan, nothing } from './durable-contracts.ts';

export const doNothing = implement(
  nothing,
  () =>
    ({ n }) =>
      Promise.resolve(n),
);

export const runFan = implementOrchestration(fan, function* (ctx, { width }) {
  const inputs = Array.from({ length: width }, (_, n) => ({ n }));
  return (yield* fanOut(ctx, nothing, inputs, { width })).length;
});

export const runChain = implementOrchestration(chain, function* (ctx, { length }) {
  for (let n = 0; n < length; n++) yield* call(ctx, nothing, { n });
  return length;
});
