import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Certificate } from './certificates.ts';

const SSL = 0x800;
const CONNECT_ATTRIBUTES = 0x100000;
const MULTI_FACTOR = 0x10000000;
const CONNECT_WITH_DATABASE = 0x8;
/** COM_QUERY: the text of a statement follows. */
const QUERY = 3;
const ACCESS_DENIED = 1045;

export interface TokenFrontOptions {
  /** The server behind. `user` (default: whoever signs in) has no password there. */
  readonly backend: { readonly host: string; readonly port: number; readonly user?: string };
  /** Without it the front offers no TLS, as a server of somebody else might. */
  readonly certificate?: Certificate;
  readonly accepts: (token: string) => boolean;
  /** What the server behind gets instead of the text of a query: for statements that only Azure's servers know. */
  readonly translate?: (text: string) => string;
}

/** A MySQL or MariaDB server whose one account signs in with a token. */
export interface TokenFront {
  readonly port: number;
  /** What was sent as a token, in order. */
  readonly tokens: readonly string[];
  /** Connections that asked to come in. */
  readonly greeted: () => number;
  close(): Promise<void>;
}

/**
 * Stands before a real server and asks for the cleartext password as Azure's does, over TLS, before it logs in behind
 * and hands the bytes through. No server that can be had freely asks for `mysql_clear_password` by itself: MySQL's
 * plugins that do (LDAP, PAM) belong to its Enterprise Edition, MariaDB's PAM needs files of the system's.
 */
export async function startTokenFront(options: TokenFrontOptions): Promise<TokenFront> {
  const tokens: string[] = [];
  const open = new Set<Socket>();
  let greeted = 0;
  const server = createServer((client) => {
    const { host, port } = options.backend;
    const backend = connect({ host, port });
    for (const socket of [client, backend]) {
      open.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        open.delete(socket);
        client.destroy();
        backend.destroy();
      });
    }
    greeted += 1;
    handshake(client, backend, options, tokens).catch(() => {
      client.destroy();
      backend.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    tokens,
    greeted: () => greeted,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

async function handshake(
  client: Socket,
  backend: Socket,
  options: TokenFrontOptions,
  tokens: string[],
): Promise<void> {
  const fromBackend = new Packets(backend);
  const greeting = await fromBackend.next();
  write(client, 0, adaptGreeting(greeting.payload, options.certificate !== undefined));
  let fromClient = new Packets(client);
  let answer = await fromClient.next();
  let stream: Socket = client;
  if ((answer.payload.readUInt32LE(0) & SSL) !== 0 && options.certificate !== undefined) {
    fromClient.stop();
    stream = await secure(client, options.certificate);
    fromClient = new Packets(stream);
    answer = await fromClient.next();
  }
  write(stream, answer.sequence + 1, Buffer.from('\u00femysql_clear_password\0\0', 'latin1'));
  const sent = await fromClient.next();
  const token = sent.payload.subarray(0, -1).toString('utf8');
  tokens.push(token);
  if (!options.accepts(token)) {
    write(stream, sent.sequence + 1, refusal());
    stream.end();
    return;
  }
  const end = await logIn(backend, fromBackend, greeting.payload, answer.payload, options);
  write(stream, sent.sequence + 1, end);
  fromBackend.stop();
  backend.pipe(stream);
  if (options.translate !== undefined) return handOn(fromClient, backend, options.translate);
  fromClient.stop();
  stream.pipe(backend);
}

/** Until the client closes, which rejects. Packets below 16 MB only. */
async function handOn(
  fromClient: Packets,
  backend: Socket,
  translate: (text: string) => string,
): Promise<never> {
  for (;;) {
    const { sequence, payload } = await fromClient.next();
    const isQuery = sequence === 0 && payload[0] === QUERY;
    const sent = isQuery ? Buffer.from(translate(payload.toString('latin1')), 'latin1') : payload;
    write(backend, sequence, sent);
  }
}

/** Logs in behind with the same capabilities and database, and returns the server's last word. */
async function logIn(
  backend: Socket,
  packets: Packets,
  greeting: Buffer,
  answer: Buffer,
  options: TokenFrontOptions,
): Promise<Buffer> {
  const head = Buffer.from(answer.subarray(0, 32));
  const flags = (head.readUInt32LE(0) & ~SSL & ~CONNECT_ATTRIBUTES) >>> 0;
  head.writeUInt32LE(flags, 0);
  const userEnd = answer.indexOf(0, 32);
  const secretLength = answer.readUInt8(userEnd + 1);
  const databaseAt = userEnd + 2 + secretLength;
  const hasDatabase = (flags & CONNECT_WITH_DATABASE) !== 0;
  const database = hasDatabase
    ? answer.subarray(databaseAt, answer.indexOf(0, databaseAt) + 1)
    : Buffer.alloc(0);
  const plugin = greeting.subarray(greeting.lastIndexOf(0, greeting.length - 2) + 1);
  const name = options.backend.user ?? answer.toString('utf8', 32, userEnd);
  const user = Buffer.from(`${name}\0\0`);
  write(backend, 1, Buffer.concat([head, user, database, plugin]));
  let reply = await packets.next();
  while (reply.payload[0] === 0xfe || reply.payload[0] === 0x01) {
    // An empty password, for another plugin than the server's first choice.
    if (reply.payload[0] === 0xfe) write(backend, reply.sequence + 1, Buffer.from([0]));
    reply = await packets.next();
  }
  return reply.payload;
}

function adaptGreeting(greeting: Buffer, offersTls: boolean): Buffer {
  const adapted = Buffer.from(greeting);
  const low = adapted.indexOf(0, 1) + 1 + 4 + 8 + 1;
  const high = low + 2 + 1 + 2;
  const flags = adapted.readUInt16LE(low);
  adapted.writeUInt16LE(offersTls ? flags | SSL : flags & ~SSL, low);
  adapted.writeUInt16LE(adapted.readUInt16LE(high) & ~(MULTI_FACTOR >>> 16), high);
  return adapted;
}

function secure(socket: Socket, certificate: Certificate): Promise<TLSSocket> {
  const stream = new TLSSocket(socket, { isServer: true, ...certificate });
  return new Promise((resolve, reject) => {
    stream.once('secure', () => resolve(stream));
    stream.once('error', reject);
    stream.once('close', () => reject(new Error('closed during the TLS handshake')));
  });
}

function refusal(): Buffer {
  const head = Buffer.from([0xff, ACCESS_DENIED & 255, ACCESS_DENIED >> 8]);
  return Buffer.concat([head, Buffer.from('#28000Access denied: the token is not valid')]);
}

function write(socket: Socket, sequence: number, payload: Buffer): void {
  const head = Buffer.alloc(4);
  head.writeUIntLE(payload.length, 0, 3);
  head.writeUInt8(sequence & 255, 3);
  socket.write(Buffer.concat([head, payload]));
}

interface Packet {
  readonly sequence: number;
  readonly payload: Buffer;
}

/** The packets of one direction, until stopped. */
class Packets {
  readonly #socket: Socket;
  #buffer = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', this.#onData);
    socket.once('close', () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  readonly #onData = (data: Buffer): void => {
    this.#buffer = Buffer.concat([this.#buffer, data]);
    this.#wake?.();
  };

  async next(): Promise<Packet> {
    for (;;) {
      const length = this.#buffer.length < 4 ? undefined : this.#buffer.readUIntLE(0, 3);
      if (length !== undefined && this.#buffer.length >= 4 + length) {
        const payload = this.#buffer.subarray(4, 4 + length);
        const sequence = this.#buffer.readUInt8(3);
        this.#buffer = this.#buffer.subarray(4 + length);
        return { sequence, payload };
      }
      if (this.#closed) throw new Error('the other side closed the connection');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  stop(): void {
    this.#socket.off('data', this.#onData);
    this.#socket.pause();
    // What came already is for whoever reads next, such as the first message of TLS.
    if (this.#buffer.length > 0) this.#socket.unshift(this.#buffer);
  }
}
