import { randomUUID } from 'node:crypto';
import { RestError } from '@azure/storage-queue';
import type { Binding, TypedData } from '../contracts.ts';
import { isRecord } from '../app/errors.ts';
import { isType, textOption } from '../app/indexing.ts';
import type { OutputRequest } from '../app/invoker.ts';
import { decodeTypedData } from '../app/typed-data.ts';
import { connectionName, type QueueConnections } from './connections.ts';
import { encodeMessage, type MessageEncoding } from './messages.ts';

/** Tells whether a storage call failed with this HTTP status. */
export function isStatus(error: unknown, status: number): boolean {
  return error instanceof RestError && error.statusCode === status;
}

/**
 * Takes the messages out of a value: each element of an array is one message, a string stays text,
 * bytes stay bytes, anything else becomes JSON. Null and undefined send nothing.
 */
export function toMessages(data: TypedData | null | undefined): readonly Buffer[] {
  const decoded = decodeTypedData(data);
  switch (decoded.kind) {
    case 'none':
      return [];
    case 'bytes':
      return [decoded.bytes];
    case 'text':
      return [Buffer.from(decoded.text)];
    case 'json': {
      const values: unknown[] = Array.isArray(decoded.value) ? decoded.value : [decoded.value];
      return values
        .filter((value) => value !== null && value !== undefined)
        .map((value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)));
    }
  }
}

function lookUp(expression: string, request: OutputRequest): string | undefined {
  if (expression.toLowerCase() === 'rand-guid') return randomUUID();
  const [head = '', ...path] = expression.split('.');
  const entry = Object.entries(request.triggerMetadata).find(
    ([name]) => name.toLowerCase() === head.toLowerCase(),
  );
  const decoded = decodeTypedData(entry?.[1]);
  let value: unknown;
  if (decoded.kind === 'text') value = path.length === 0 ? decoded.text : safeParse(decoded.text);
  else value = decoded.kind === 'json' ? decoded.value : undefined;
  for (const part of path) value = isRecord(value) ? value[part] : undefined;
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

function safeParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Fills `{name}` in a queue name from the trigger's metadata. Throws when there is no such value. */
function bindQueueName(binding: Binding, request: OutputRequest): string {
  const template = textOption(binding, 'queueName');
  const name = template.replace(/\{([^}]+)\}/g, (whole, expression: string) => {
    const value = lookUp(expression, request);
    if (value === undefined) {
      throw new Error(`The queue name "${template}" needs a value for ${whole}.`);
    }
    return value;
  });
  return name.toLowerCase();
}

/** Writes queue output bindings, creating queues on demand, and tells who listens to them. */
export class QueueOutputs {
  readonly #connections: QueueConnections;
  readonly #encoding: MessageEncoding;
  readonly #onWritten: (connection: string, queue: string) => void;

  constructor(options: {
    readonly connections: QueueConnections;
    readonly encoding: MessageEncoding;
    readonly onWritten: (connection: string, queue: string) => void;
  }) {
    this.#connections = options.connections;
    this.#encoding = options.encoding;
    this.#onWritten = options.onWritten;
  }

  /** Sends what one invocation produced; a failure fails the invocation, as in Azure. */
  async write(request: OutputRequest): Promise<void> {
    for (const [key, binding] of Object.entries(request.fn.bindings)) {
      if (binding.direction !== 'out' || !isType(binding, 'queue')) continue;
      const data =
        key === '$return'
          ? request.response.returnValue
          : request.response.outputData?.find((entry) => entry.name === key)?.data;
      const messages = toMessages(data);
      if (messages.length > 0) await this.#send(binding, messages, request);
    }
  }

  async #send(
    binding: Binding,
    messages: readonly Buffer[],
    request: OutputRequest,
  ): Promise<void> {
    const connection = connectionName(binding);
    const name = bindQueueName(binding, request);
    const queue = this.#connections.queue(connection, name);
    for (const message of messages) {
      const text = encodeMessage(message, this.#encoding);
      try {
        await queue.sendMessage(text);
      } catch (error) {
        if (!isStatus(error, 404)) throw error;
        await queue.createIfNotExists();
        await queue.sendMessage(text);
      }
    }
    this.#onWritten(connection, name);
  }
}
