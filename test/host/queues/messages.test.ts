import { describe, expect, test } from 'vitest';
import { PollingBackoff } from '../../../local/host/queues/backoff.ts';
import {
  decodeMessage,
  encodeMessage,
  queueMetadata,
} from '../../../local/host/queues/messages.ts';
import { toMessages } from '../../../local/host/queues/outputs.ts';

describe('encoding', () => {
  test('base64 in both directions; text that is not base64 is refused', () => {
    expect(encodeMessage(Buffer.from('é'), 'base64')).toBe('w6k=');
    expect(decodeMessage('w6k=', 'base64')?.toString()).toBe('é');
    expect(decodeMessage('', 'base64')?.toString()).toBe('');
    for (const text of ['{"a":1}', 'abc', 'w6k', '====']) {
      expect(decodeMessage(text, 'base64')).toBeUndefined();
    }
    expect(decodeMessage('{"a":1}', 'none')?.toString()).toBe('{"a":1}');
  });
});

describe('metadata', () => {
  const message = {
    messageId: 'm',
    popReceipt: 'p',
    text: '',
    dequeueCount: 2,
    insertedOn: new Date(0),
    expiresOn: new Date(1000),
    nextVisibleOn: new Date(2000),
  };

  test('properties of a JSON message are added unless they collide with its own', () => {
    const metadata = queueMetadata(message, '{"id":"mine","region":"N","n":1,"none":null}');
    expect(metadata).toEqual({
      QueueTrigger: { string: '{"id":"mine","region":"N","n":1,"none":null}' },
      Id: { string: 'm' },
      PopReceipt: { string: 'p' },
      DequeueCount: { json: '2' },
      InsertionTime: { json: '"1970-01-01T00:00:00+00:00"' },
      ExpirationTime: { json: '"1970-01-01T00:00:01+00:00"' },
      NextVisibleTime: { json: '"1970-01-01T00:00:02+00:00"' },
      region: { string: 'N' },
      n: { json: '1' },
      none: {},
    });
    expect(Object.keys(queueMetadata(message, '[1]'))).toHaveLength(7);
    expect(Object.keys(queueMetadata(message, '{broken'))).toHaveLength(7);
  });
});

test('outputs: arrays are several messages, text stays text, nothing sends nothing', () => {
  const texts = (data: Parameters<typeof toMessages>[0]) =>
    toMessages(data).map((message) => message.toString());
  expect(texts({ json: '["a",{"b":1},[2],null,true]' })).toEqual(['a', '{"b":1}', '[2]', 'true']);
  expect(texts({ string: '["a"]' })).toEqual(['["a"]']);
  expect(texts({ bytes: Buffer.from('x') })).toEqual(['x']);
  expect(texts({ int: 5 })).toEqual(['5']);
  expect(texts({ json: '{"a":1}' })).toEqual(['{"a":1}']);
  expect(texts(undefined)).toEqual([]);
  expect(texts({ json: 'null' })).toEqual([]);
});

test('empty polls wait longer and longer, up to the limit; a message starts over', () => {
  const backoff = new PollingBackoff(1000, () => 0.5);
  const waits = Array.from({ length: 6 }, () => Math.round(backoff.next()));
  expect(waits).toEqual([100, 200, 400, 800, 1000, 1000]);
  backoff.reset();
  expect(Math.round(backoff.next())).toBe(100);
  const jittered = new PollingBackoff(1000, () => 0);
  expect(jittered.next()).toBeCloseTo(80);
});
