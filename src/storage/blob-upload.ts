import { createHash, randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { PermanentError, RetryableError } from '../kernel/errors.ts';
import type { BlobContainer } from './blob-container.ts';
import { failedWith } from './storage-errors.ts';

/** One block is in memory at a time. The service takes 50 000 blocks: 200 GB, far above any limit of ours. */
const BLOCK_BYTES = 4 * 1024 * 1024;

export interface UploadResult {
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/**
 * Streams `source` into a blob: blocks are staged as they fill and become the blob all at once at the end,
 * so that a failure, the limit or a crash leaves no blob (and an overwritten one as it was). Uncommitted
 * blocks are dropped by the service within a week. Block ids are random per upload, so that two uploads of
 * one name cannot mix; the one that commits second fails as retryable `conflict`. Errors of `source` pass through.
 */
export async function uploadStream(
  container: BlobContainer,
  name: string,
  source: Readable,
  maxBytes: number,
): Promise<UploadResult> {
  const hash = createHash('sha256');
  const prefix = randomBytes(9).toString('hex');
  const blockIds: string[] = [];
  let bytes = 0;
  for await (const block of blocksOf(source)) {
    bytes += block.length;
    if (bytes > maxBytes) throw tooLarge(maxBytes);
    hash.update(block);
    const id = Buffer.from(`${prefix}-${String(blockIds.length).padStart(6, '0')}`).toString(
      'base64',
    );
    await container.write(
      'blob.stage-block',
      (client, abortSignal) =>
        client.getBlockBlobClient(name).stageBlock(id, block, block.length, { abortSignal }),
      [],
      // The first block tells soon whether the account is there at all.
      blockIds.length === 0 ? 'request' : 'stream',
    );
    blockIds.push(id);
  }
  await commit(container, name, blockIds);
  return { bytes, sha256: hash.digest('hex') };
}

async function commit(container: BlobContainer, name: string, blockIds: string[]): Promise<void> {
  try {
    await container.write(
      'blob.commit-blocks',
      (client, abortSignal) =>
        client.getBlockBlobClient(name).commitBlockList(blockIds, { abortSignal }),
      ['InvalidBlockList'],
      'stream',
    );
  } catch (cause) {
    if (!failedWith(cause, 'InvalidBlockList')) throw cause;
    throw new RetryableError('conflict', 'The same blob was uploaded by someone else meanwhile.', {
      cause,
      details: { blob: name },
    });
  }
}

/** Cuts the stream into blocks of full size; the last one is shorter. */
async function* blocksOf(source: Readable): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of source) {
    let rest = typeof chunk === 'string' ? Buffer.from(chunk) : Buffer.from(chunk as Uint8Array);
    while (size + rest.length >= BLOCK_BYTES) {
      const cut = BLOCK_BYTES - size;
      parts.push(rest.subarray(0, cut));
      yield Buffer.concat(parts);
      parts = [];
      size = 0;
      rest = rest.subarray(cut);
    }
    if (rest.length > 0) {
      parts.push(rest);
      size += rest.length;
    }
  }
  if (size > 0) yield Buffer.concat(parts);
}

function tooLarge(maxBytes: number): PermanentError {
  return new PermanentError(
    'payload-too-large',
    `The upload is larger than ${maxBytes} bytes, the most that is accepted; send it in parts.`,
    { details: { maxBytes } },
  );
}
