import { composeApp } from '../../../src/compose.ts';
import { FOLDER_SETTING } from './plan.ts';
import { createFaultProbe } from './probe.ts';

/**
 * Entry of the app for tests that inject faults: the product from its sources, with a probe that acts on the folder
 * which the test names.
 */
const folder = process.env[FOLDER_SETTING];
if (folder === undefined) throw new Error(`${FOLDER_SETTING} is not set`);
await composeApp({ probe: createFaultProbe(folder) });
