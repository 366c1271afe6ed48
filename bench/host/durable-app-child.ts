import { registerDurable } from '../../src/durable/register.ts';
import { quietLogger } from '../world.ts';
import { chain, fan, nothing } from './durable-contracts.ts';
import { doNothing, runChain, runFan } from './durable-implementations.ts';

/** Entry of an app that does nothing, through the layers that the product's own activities and orchestrations have. */
registerDurable({ logger: quietLogger() }, [
  {
    contracts: [nothing, fan, chain],
    activities: [doNothing],
    orchestrations: [runFan, runChain],
  },
]);
