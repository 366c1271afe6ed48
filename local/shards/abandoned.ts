import { resolve } from 'node:path';
import { locationArgument } from './servers/azurite.ts';
import { endProcess, findByPrefix } from './servers/process-identity.ts';
import { dataDirArgument } from './servers/server-options.ts';
import { stackPaths } from './state.ts';

/** Short: without its data folder a server never ends by itself. */
const GRACE_MS = 5_000;

/**
 * Ends the servers of a data folder that has no state file, as after somebody deleted the folder
 * under them: nobody knows their ports and passwords any more. Returns how many there were.
 */
export async function endAbandoned(dataDir: string): Promise<number> {
  const { shardsDir, storageDir } = stackPaths(resolve(dataDir));
  const abandoned = [
    ...findByPrefix(dataDirArgument(`${shardsDir}/`), '--no-defaults'),
    ...findByPrefix(locationArgument(storageDir), '--skipApiVersionCheck'),
  ];
  await Promise.all(abandoned.map((identity) => endProcess(identity, GRACE_MS)));
  return abandoned.length;
}
