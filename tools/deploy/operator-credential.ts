import type { Credential } from '../../src/sign-in.ts';

/** A program that hangs would keep the command from ending long after it told its result. */
const PROGRAM_LIMIT_MS = 10_000;

/**
 * The credential of whoever runs a command: signed in by azd, else by az. Nothing else is tried. A managed identity of the
 * machine (a runner inside the network has one) would come before them in the library's default chain, and is nobody on
 * the servers.
 *
 * `tenantId`: whose servers they are (azd's AZURE_TENANT_ID); a guest's own tenant is another one.
 */
export function createOperatorCredential(tenantId: string | undefined): Credential {
  return async () => {
    const { AzureCliCredential, AzureDeveloperCliCredential, ChainedTokenCredential } =
      await import('@azure/identity');
    const options = { processTimeoutInMs: PROGRAM_LIMIT_MS, ...(tenantId && { tenantId }) };
    return new ChainedTokenCredential(
      new AzureDeveloperCliCredential(options),
      new AzureCliCredential(options),
    );
  };
}
