import type { TokenCredential } from '@azure/identity';

/** The credential of this process, made at the first call. */
export type Credential = () => Promise<TokenCredential>;

/**
 * The identity with which the app signs in to the storage account and the shards: the user-assigned one of this client
 * id, else what the environment offers (the system-assigned identity, a developer's sign-in). The identity library is
 * loaded with the first use: local runs never pay for it.
 */
export function createCredential(clientId: string | undefined): Credential {
  let made: Promise<TokenCredential> | undefined;
  return () => {
    made ??= import('@azure/identity').then((identity) =>
      clientId === undefined
        ? new identity.DefaultAzureCredential()
        : new identity.ManagedIdentityCredential({ clientId }),
    );
    return made;
  };
}
