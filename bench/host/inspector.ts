import { z } from 'zod';
import type { HostProcess } from '../../local/host-process.ts';
import type { HostWorld } from './world.ts';

/** A host that can be looked into, by V8's own protocol. Nothing of it runs before it is asked. */
export interface InspectedHost {
  readonly host: HostProcess;
  /** Calls a method of the protocol; throws when it refuses. */
  readonly ask: (method: string, params?: Readonly<Record<string, unknown>>) => Promise<unknown>;
  readonly close: () => void;
}

const LISTENING = /Debugger listening on (ws:\/\/\S+)/;

const answer = z.object({
  id: z.int().optional(),
  result: z.unknown(),
  error: z.object({ message: z.string() }).optional(),
});

/** Starts the product's host with its inspector open to this machine, on a free port. */
export async function startInspectedHost(
  world: HostWorld,
  settings: Readonly<Record<string, string>> = {},
): Promise<InspectedHost> {
  let url: string | undefined;
  const host = await world.startHost({
    settings: { ...settings, NODE_OPTIONS: '--inspect=127.0.0.1:0' },
    onLine: (line) => {
      url ??= LISTENING.exec(line)?.[1];
    },
  });
  if (url === undefined) throw new Error('The host did not open its inspector.');
  const socket = new WebSocket(url);
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => resolve());
    socket.addEventListener('error', () => reject(new Error('The inspector does not answer.')));
  });
  const waiting = new Map<number, (message: z.infer<typeof answer>) => void>();
  socket.addEventListener('message', ({ data }) => {
    const message = answer.parse(JSON.parse(String(data)));
    if (message.id !== undefined) waiting.get(message.id)?.(message);
  });
  let last = 0;
  return {
    host,
    ask: (method, params = {}) =>
      new Promise((resolve, reject) => {
        const id = ++last;
        waiting.set(id, ({ result, error }) => {
          waiting.delete(id);
          if (error === undefined) resolve(result);
          else reject(new Error(`${method}: ${error.message}`));
        });
        socket.send(JSON.stringify({ id, method, params }));
      }),
    close: () => socket.close(),
  };
}
