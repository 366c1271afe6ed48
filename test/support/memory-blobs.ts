import { Readable } from 'node:stream';
import { createHash } from 'node:crypto';
import { PermanentError } from '../../src/kernel/errors.ts';
import type { BlobStore } from '../../src/storage/contracts.ts';

/** A {@link BlobStore} in memory, with the semantics of the real one; `texts` has `container/name` → content. */
export interface MemoryBlobs extends BlobStore {
  readonly texts: Map<string, Buffer>;
}

export function createMemoryBlobs(): MemoryBlobs {
  const texts = new Map<string, Buffer>();
  const writtenAtMs = new Map<string, number>();
  const key = (container: string, name: string): string => `${container}/${name}`;
  const put = (container: string, name: string, content: Buffer): void => {
    texts.set(key(container, name), content);
    writtenAtMs.set(key(container, name), Date.now());
  };
  const list: BlobStore['list'] = (container, prefix, limit) =>
    Promise.resolve(
      [...texts.keys()]
        .filter((name) => name.startsWith(key(container, prefix)))
        .map((name) => name.slice(container.length + 1))
        .toSorted()
        .slice(0, limit),
    );
  const open = (container: string, name: string): Promise<Readable | undefined> => {
    const content = texts.get(key(container, name));
    return Promise.resolve(content && Readable.from([content]));
  };
  return {
    texts,
    open,
    openForeign: open,
    upload: async (container, name, source, { maxBytes }) => {
      const parts: Buffer[] = [];
      for await (const part of source) parts.push(Buffer.from(part as Uint8Array));
      const content = Buffer.concat(parts);
      if (content.length > maxBytes) throw new PermanentError('payload-too-large', 'too large');
      put(container, name, content);
      return {
        bytes: content.length,
        sha256: createHash('sha256').update(content).digest('hex'),
      };
    },
    write: (container, name, text) => {
      put(container, name, Buffer.from(text));
      return Promise.resolve();
    },
    create: (container, name, text) => {
      if (texts.has(key(container, name))) return Promise.resolve(false);
      put(container, name, Buffer.from(text));
      return Promise.resolve(true);
    },
    read: (container, name) => Promise.resolve(texts.get(key(container, name))?.toString('utf8')),
    delete: (container, name) => {
      texts.delete(key(container, name));
      return Promise.resolve();
    },
    list,
    listDated: async (container, prefix, limit) =>
      (await list(container, prefix, limit)).map((name) => ({
        name,
        writtenAtMs: writtenAtMs.get(key(container, name)) ?? 0,
      })),
  };
}
