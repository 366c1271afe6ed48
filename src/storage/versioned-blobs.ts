import { NOT_THERE, openOwnContainer } from './blob-container.ts';
import { downloadRange, readWhole } from './blob-download.ts';
import type { StorageClients } from './clients.ts';
import type { ContainerName } from './contracts.ts';
import { failedWith } from './storage-errors.ts';

/** A small blob's text and the ETag that names this version of it. */
export interface VersionedText {
  readonly text: string;
  readonly etag: string;
}

/** Small blobs that several instances change: every write says which version it replaces. */
export interface VersionedBlobs {
  /** The blob, `unchanged` when it still is the version named by `knownEtag`, or undefined when there is none. */
  read(name: string, knownEtag?: string): Promise<VersionedText | 'unchanged' | undefined>;
  /**
   * Writes the text if the blob is still the version `etag`, or is missing when `etag` is undefined. Returns the
   * new version's ETag, or undefined when someone else was faster. A write that got through while its answer
   * was lost is recognised by reading it back, so texts of different writers must differ.
   */
  swap(name: string, text: string, etag: string | undefined): Promise<string | undefined>;
}

/** Control blobs are a few kilobytes; a larger one is not ours. */
const MAX_BYTES = 1024 * 1024;
const LOST_RACE = ['ConditionNotMet', 'BlobAlreadyExists', 'BlobNotFound'] as const;

export function createVersionedBlobs(
  clients: StorageClients,
  containerName: ContainerName,
): VersionedBlobs {
  const container = openOwnContainer(clients, containerName);

  const read: VersionedBlobs['read'] = async (name, knownEtag) => {
    if (knownEtag === undefined) return readWhole(container, name, MAX_BYTES);
    try {
      await downloadRange(container, name, { offset: 0, conditions: { ifNoneMatch: knownEtag } });
    } catch (error) {
      if (failedWith(error, 'ConditionNotMet')) return 'unchanged';
      if (!failedWith(error, ...NOT_THERE, 'InvalidRange')) throw error;
    }
    return readWhole(container, name, MAX_BYTES);
  };

  const write = async (name: string, text: string, etag: string | undefined) => {
    const conditions = etag === undefined ? { ifNoneMatch: '*' } : { ifMatch: etag };
    const written = await container.write(
      'blob.swap',
      (client, abortSignal) =>
        client
          .getBlockBlobClient(name)
          .upload(text, Buffer.byteLength(text), { abortSignal, conditions }),
      LOST_RACE,
    );
    return written.etag;
  };

  return {
    read,
    swap: async (name, text, etag) => {
      try {
        return await write(name, text, etag);
      } catch (error) {
        if (!failedWith(error, ...LOST_RACE)) throw error;
        const there = await readWhole(container, name, MAX_BYTES);
        return there?.text === text ? there.etag : undefined;
      }
    },
  };
}
