import { hash, randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { OrchestrationClient } from '../durable/client.ts';
import { PermanentError } from '../kernel/errors.ts';
import { errorFields } from '../kernel/logger.ts';
import type { Services } from '../services.ts';
import { ingestOrchestration } from './contracts.ts';
import { CONTAINER, createIngestionStore } from './store.ts';

export type IntakeServices = Pick<Services, 'blobs' | 'logger' | 'probe'>;

export interface Batch {
  readonly ingestionId: string;
  /** NDJSON. */
  readonly body: Readable;
  readonly maxBytes: number;
  /** Time of orders that name none. */
  readonly createdAt: string;
}

/** An id that stands for a text: the same text gives the same id. In the form of a UUID, which people recognise as an id. */
export function derivedIngestionId(source: string): string {
  const hex = hash('sha256', `ingestion:${source}`, 'hex');
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return [...parts, hex.slice(20, 32)].join('-');
}

/**
 * Takes a batch in: upload → manifest → orchestration. The manifest, created only when there is none, is the moment at
 * which the ingestion exists; a crash before it leaves an orphaned upload, a crash after it an ingestion that the next
 * call (a repeat, or a question for its status) starts. The same content again is `replayed`; throws
 * `idempotency-conflict` for other content under the same id.
 */
export async function takeIn(
  services: IntakeServices,
  client: OrchestrationClient,
  batch: Batch,
): Promise<'accepted' | 'replayed'> {
  const { ingestionId } = batch;
  const store = createIngestionStore(services.blobs);
  const input = store.inputName(ingestionId, randomUUID());
  const { bytes, sha256 } = await services.blobs.upload(CONTAINER, input, batch.body, {
    maxBytes: batch.maxBytes,
  });
  await services.probe.reach('ingestion.afterUpload');
  const { createdAt } = batch;
  const created = await store.createManifest({ ingestionId, input, bytes, sha256, createdAt });
  await services.probe.reach('ingestion.afterManifest');
  if (!created) {
    const first = await store.readManifest(ingestionId);
    // A storage call that was repeated after a lost answer finds its own manifest.
    if (first?.input !== input) await removeQuietly(services, input);
    if (first?.sha256 !== sha256) throw otherContent();
  }
  await startIngestion(client, ingestionId);
  await services.probe.reach('ingestion.afterStart');
  return created ? 'accepted' : 'replayed';
}

/** Starts the orchestration of an ingestion that has a manifest, unless it was started before. */
export async function startIngestion(
  client: OrchestrationClient,
  ingestionId: string,
): Promise<void> {
  await client.ensureStarted(ingestOrchestration, ingestionId, { ingestionId });
}

async function removeQuietly(services: IntakeServices, name: string): Promise<void> {
  try {
    await services.blobs.delete(CONTAINER, name);
  } catch (error) {
    services.logger.log('warn', 'ingestion.upload_left', { blob: name, ...errorFields(error) });
  }
}

function otherContent(): PermanentError {
  return new PermanentError(
    'idempotency-conflict',
    'This key was used before for a batch with other content; use another key for another batch.',
  );
}
