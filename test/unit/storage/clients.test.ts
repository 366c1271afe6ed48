import { describe, expect, test } from 'vitest';
import { createStorageClients, resolveStorageTarget } from '../../../src/storage/clients.ts';
import type { StorageSettings } from '../../../src/storage/clients.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const settings = (given: Partial<StorageSettings>): StorageSettings => ({
  AzureWebJobsStorage: undefined,
  AzureWebJobsStorage__accountName: undefined,
  AzureWebJobsStorage__blobServiceUri: undefined,
  AzureWebJobsStorage__queueServiceUri: undefined,
  AzureWebJobsStorage__clientId: undefined,
  ...given,
});

describe('which account', () => {
  test('a connection string is used as it is, whatever else is set', () => {
    const target = resolveStorageTarget(
      settings({
        AzureWebJobsStorage: 'UseDevelopmentStorage=true',
        AzureWebJobsStorage__accountName: 'orders',
      }),
    );
    expect(target).toEqual({
      kind: 'connection-string',
      connectionString: 'UseDevelopmentStorage=true',
    });
  });

  test('an account name means the public cloud, with the identity given', () => {
    const target = resolveStorageTarget(
      settings({
        AzureWebJobsStorage__accountName: 'orders',
        AzureWebJobsStorage__clientId: 'client',
      }),
    );
    expect(target).toEqual({
      kind: 'identity',
      blobUri: 'https://orders.blob.core.windows.net',
      queueUri: 'https://orders.queue.core.windows.net',
      clientId: 'client',
    });
  });

  test('service URIs win over the account name', () => {
    const target = resolveStorageTarget(
      settings({
        AzureWebJobsStorage__accountName: 'orders',
        AzureWebJobsStorage__blobServiceUri: 'https://blob.example',
      }),
    );
    expect(target).toMatchObject({
      blobUri: 'https://blob.example',
      queueUri: 'https://orders.queue.core.windows.net',
    });
  });

  test('a missing queue URI stops the app and names the setting', () => {
    const blobOnly = settings({ AzureWebJobsStorage__blobServiceUri: 'https://blob.example' });
    expect(() => resolveStorageTarget(blobOnly)).toThrow(
      expect.objectContaining({
        code: 'configuration-invalid',
        message: expect.stringContaining('AzureWebJobsStorage__queueServiceUri') as string,
      }),
    );
  });

  test('UseDevelopmentStorage=true gives clients for the local emulator', async () => {
    const clients = createStorageClients(
      settings({ AzureWebJobsStorage: 'UseDevelopmentStorage=true' }),
      { clock: createFakeClock(), random: () => 0 },
    );
    expect((await clients.blobs()).url).toBe('http://127.0.0.1:10000/devstoreaccount1');
    expect((await clients.queues()).url).toBe('http://127.0.0.1:10001/devstoreaccount1');
  });
});

describe('one call', () => {
  const clock = createFakeClock({ autoSleep: true });
  const clients = createStorageClients(
    settings({ AzureWebJobsStorage: 'UseDevelopmentStorage=true' }),
    { clock, random: () => 0.5 },
  );
  const failing = (fields: object, times: number) => {
    let calls = 0;
    return {
      run: (signal: AbortSignal) => {
        expect(signal.aborted).toBe(false);
        calls += 1;
        return calls <= times
          ? Promise.reject(Object.assign(new Error('x'), fields))
          : Promise.resolve('done');
      },
      calls: () => calls,
    };
  };

  test('is tried again after a hiccup', async () => {
    const { run, calls } = failing({ statusCode: 503 }, 3);
    await expect(clients.call('test', run)).resolves.toBe('done');
    expect(calls()).toBe(4);
  });

  test('gives up after four tries, within a second or two of waiting', async () => {
    const startMs = clock.monotonicMs();
    const { run, calls } = failing({ code: 'ECONNREFUSED' }, 100);
    await expect(clients.call('test', run)).rejects.toMatchObject({ code: 'storage-unavailable' });
    expect(calls()).toBe(4);
    expect(clock.monotonicMs() - startMs).toBeLessThan(2_000);
  });

  test('an answer the caller asked for comes as the SDK threw it, at once', async () => {
    const { run, calls } = failing({ statusCode: 404, code: 'BlobNotFound' }, 100);
    const call = clients.call('test', run, ['BlobNotFound']);
    await expect(call).rejects.toMatchObject({ code: 'BlobNotFound' });
    expect(calls()).toBe(1);
  });

  test('an answer nobody asked for is storage-unavailable, at once', async () => {
    const { run, calls } = failing({ statusCode: 403, code: 'AuthorizationFailure' }, 100);
    const call = clients.call('test', run, ['BlobNotFound']);
    await expect(call).rejects.toMatchObject({ code: 'storage-unavailable' });
    expect(calls()).toBe(1);
  });
});
