import { NOT_THERE, openContainer, openOwnContainer } from './blob-container.ts';
import type { BlobContainer } from './blob-container.ts';
import { openStream, readWhole } from './blob-download.ts';
import { uploadStream } from './blob-upload.ts';
import type { StorageClients } from './clients.ts';
import type { BlobStore, ContainerName, DatedName } from './contracts.ts';
import { failedWith } from './storage-errors.ts';

const DEFAULT_READ_BYTES = 8 * 1024 * 1024;
/** Pages of a listing; the service gives at most 5 000 names each. */
const LIST_PAGE = 1_000;

/** Lower-case letters, digits and single hyphens, 3 to 63: the service's rule for container names. */
const CONTAINER_NAME = /^(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*$/;
/** The Functions host keeps its own state and keys there: never to be read because a message names it. */
const HOST_CONTAINER = /^azure-webjobs-/;

/** A {@link BlobStore} on the account's blob service. */
export function createBlobStore(clients: StorageClients): BlobStore {
  const containers = new Map<ContainerName, BlobContainer>();
  const at = (name: ContainerName): BlobContainer => {
    const known = containers.get(name) ?? openOwnContainer(clients, name);
    containers.set(name, known);
    return known;
  };
  return {
    upload: (container, name, source, limits) =>
      uploadStream(at(container), name, source, limits.maxBytes),
    write: async (container, name, text) => {
      await at(container).write('blob.write', (client, abortSignal) =>
        client.getBlockBlobClient(name).upload(text, Buffer.byteLength(text), { abortSignal }),
      );
    },
    create: (container, name, text) => createBlob(at(container), name, text),
    read: async (container, name, maxBytes = DEFAULT_READ_BYTES) =>
      (await readWhole(at(container), name, maxBytes))?.text,
    open: (container, name, span) => openStream(at(container), name, span),
    openForeign: async (container, name) => {
      if (!CONTAINER_NAME.test(container) || HOST_CONTAINER.test(container)) return undefined;
      if (name === '' || name.length > 1_024) return undefined;
      return openStream(openContainer(clients, container), name);
    },
    delete: async (container, name) => {
      await deleteBlob(at(container), name);
    },
    list: async (container, prefix, limit) =>
      (await listBlobs(at(container), prefix, limit)).map(({ name }) => name),
    listDated: (container, prefix, limit) => listBlobs(at(container), prefix, limit),
  };
}

async function createBlob(container: BlobContainer, name: string, text: string): Promise<boolean> {
  try {
    await container.write(
      'blob.create',
      (client, abortSignal) =>
        client.getBlockBlobClient(name).upload(text, Buffer.byteLength(text), {
          abortSignal,
          conditions: { ifNoneMatch: '*' },
        }),
      ['BlobAlreadyExists', 'ConditionNotMet'],
    );
    return true;
  } catch (error) {
    if (failedWith(error, 'BlobAlreadyExists', 'ConditionNotMet')) return false;
    throw error;
  }
}

async function deleteBlob(container: BlobContainer, name: string): Promise<void> {
  try {
    await container.read(
      'blob.delete',
      (client, abortSignal) => client.getBlobClient(name).delete({ abortSignal }),
      NOT_THERE,
    );
  } catch (error) {
    if (!failedWith(error, ...NOT_THERE)) throw error;
  }
}

async function listBlobs(
  container: BlobContainer,
  prefix: string,
  limit: number,
): Promise<readonly DatedName[]> {
  const found: DatedName[] = [];
  let continuationToken: string | undefined;
  try {
    while (found.length < limit) {
      const settings = {
        maxPageSize: Math.min(LIST_PAGE, limit - found.length),
        ...(continuationToken === undefined ? {} : { continuationToken }),
      };
      const page = await container.read(
        'blob.list',
        async (client, abortSignal) => {
          const pages = client.listBlobsFlat({ prefix, abortSignal }).byPage(settings);
          const next = await pages.next();
          return next.done === true ? undefined : next.value;
        },
        ['ContainerNotFound'],
      );
      if (page === undefined) break;
      const items = page.segment.blobItems.map(({ name, properties }) => ({
        name,
        writtenAtMs: properties.lastModified.getTime(),
      }));
      found.push(...items);
      if (page.continuationToken === undefined || page.continuationToken === '') break;
      continuationToken = page.continuationToken;
    }
  } catch (error) {
    if (!failedWith(error, 'ContainerNotFound')) throw error;
  }
  return found.slice(0, limit);
}
