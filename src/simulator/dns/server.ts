import { createSocket, type RemoteInfo, Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, isIPv6, Server, type AddressInfo, type Socket } from 'node:net';
import { messageOf } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import { encodeAnswer, errorAnswer, parseQuery, RCODE } from './message.ts';
import type { Query } from './message.ts';
import type { Resolve } from './resolver.ts';

/** Where to listen. Port 0: any. */
export interface ListenAddress {
  readonly address: string;
  readonly port: number;
}

export interface DnsServerOptions {
  /** Addresses to bind, or bound sockets (made in another network namespace, say), which the server owns from then on. */
  readonly udp: readonly (DatagramSocket | ListenAddress)[];
  /** The same for TCP. A server that is handed over should have been made with `allowHalfOpen: true`. */
  readonly tcp: readonly (Server | ListenAddress)[];
  readonly resolve: Resolve;
  readonly log: Logger;
  /** Most queries that wait for an answer at a time; more are answered SERVFAIL. Default 1024. */
  readonly limit?: number;
  /** Most TCP connections; more are closed at once. Default 128. */
  readonly connections?: number;
  /** A TCP connection without a query is closed after this. Default 10 s (RFC 7766 section 6.2.3 leaves it to us). */
  readonly idleMilliseconds?: number;
}

export interface DnsServer extends Closeable {
  readonly udp: readonly AddressInfo[];
  readonly tcp: readonly AddressInfo[];
}

/** Queries of one connection that may wait for their answers; then reading pauses. */
const PIPELINE = 32;

/**
 * Serves DNS over UDP and TCP (RFC 7766). dns2's own servers bind for themselves, answer one query per connection and
 * cap nothing, so only its codec is used. An answer leaves by the socket that its query came to. Rejects when an
 * address cannot be bound; then nothing stays open. `close` stops listening, aborts what is under way and ends.
 */
export async function startDnsServer(options: DnsServerOptions): Promise<DnsServer> {
  const { log } = options;
  const limit = options.limit ?? 1024;
  const stopping = new AbortController();
  const connections = new Set<Socket>();
  const datagramSockets: DatagramSocket[] = [];
  const servers: Server[] = [];
  let pending = 0;
  let closing: Promise<void> | undefined;

  /** Answers one message, or undefined where nothing is to be sent. */
  function answerTo(bytes: Buffer, transport: 'udp' | 'tcp'): Buffer | undefined | Promise<Buffer | undefined> {
    const prepared = options.resolve.prepared?.(bytes, transport);
    if (prepared !== undefined) return prepared;
    const parsed = parseQuery(bytes, transport);
    if (parsed.kind === 'ignored') return undefined;
    if (parsed.kind === 'error') return parsed.reply;
    const { query } = parsed;
    if (pending >= limit) return encodeAnswer(query, errorAnswer(RCODE.SERVFAIL));
    try {
      const reply = options.resolve(query, { signal: stopping.signal });
      return reply instanceof Promise ? settled(query, reply) : reply;
    } catch (error) {
      return failed(query, error);
    }
  }

  async function settled(query: Query, reply: Promise<Buffer>): Promise<Buffer | undefined> {
    pending += 1;
    try {
      return await reply;
    } catch (error) {
      return stopping.signal.aborted ? undefined : failed(query, error);
    } finally {
      pending -= 1;
    }
  }

  function failed(query: Query, error: unknown): Buffer {
    log.error({ err: error, name: query.question.name, type: query.question.type }, 'a DNS query failed');
    return encodeAnswer(query, errorAnswer(RCODE.SERVFAIL));
  }

  function serveDatagrams(socket: DatagramSocket): void {
    datagramSockets.push(socket);
    const send = (reply: Buffer | undefined, remote: RemoteInfo): void => {
      // Who sends from port 0 wants no answer (RFC 768), and Node throws at it.
      if (reply === undefined || stopping.signal.aborted || remote.port === 0) return;
      socket.send(reply, remote.port, remote.address, (error) => {
        if (error !== null) log.debug({ reason: messageOf(error), client: remote.address }, 'a DNS answer could not be sent');
      });
    };
    socket.on('error', (error) => log.warn({ reason: messageOf(error) }, 'the DNS socket reports an error'));
    socket.on('message', (bytes, remote) => {
      const reply = answerTo(bytes, 'udp');
      if (!(reply instanceof Promise)) return send(reply, remote);
      void reply.then((late) => send(late, remote));
    });
  }

  function serveConnections(server: Server): void {
    servers.push(server);
    server.on('error', (error) => log.warn({ reason: messageOf(error) }, 'the DNS listener reports an error'));
    server.on('connection', (socket) => {
      socket.on('error', (error) => log.debug({ reason: messageOf(error) }, 'a DNS connection broke'));
      if (connections.size >= (options.connections ?? 128) || stopping.signal.aborted) {
        socket.destroy();
        return;
      }
      connections.add(socket);
      socket.on('close', () => connections.delete(socket));
      serveStream(socket, (bytes) => answerTo(bytes, 'tcp'), options.idleMilliseconds ?? 10_000);
    });
  }

  async function close(): Promise<void> {
    stopping.abort();
    for (const socket of connections) socket.destroy();
    await Promise.all([...datagramSockets.map(closeDatagrams), ...servers.map(closeServer)]);
  }

  try {
    for (const entry of options.udp) serveDatagrams(entry instanceof DatagramSocket ? entry : await bound(entry));
    for (const entry of options.tcp) serveConnections(entry instanceof Server ? entry : await listening(entry));
  } catch (error) {
    await close();
    throw error;
  }

  return {
    udp: datagramSockets.map((socket) => socket.address()),
    tcp: servers.map((server) => server.address()).filter((address) => typeof address === 'object' && address !== null),
    close: () => (closing ??= close()),
    [Symbol.asyncDispose]: () => (closing ??= close()),
  };
}

/** Reads queries with their 2-byte lengths and writes answers in the order in which they are ready (RFC 7766 section 6.2.1.1). */
function serveStream(socket: Socket, answerTo: (bytes: Buffer) => Buffer | undefined | Promise<Buffer | undefined>, idle: number): void {
  let received: Buffer = Buffer.alloc(0);
  let waiting = 0;
  let ended = false;

  const write = (reply: Buffer | undefined): void => {
    if (reply === undefined || !socket.writable) return;
    const length = Buffer.alloc(2);
    length.writeUInt16BE(reply.length);
    socket.cork();
    socket.write(length);
    socket.write(reply);
    socket.uncork();
  };
  const finishIfDone = (): void => {
    if (ended && waiting === 0) socket.end();
  };
  const later = async (reply: Promise<Buffer | undefined>): Promise<void> => {
    const late = await reply;
    waiting -= 1;
    write(late);
    consume();
    finishIfDone();
  };
  const consume = (): void => {
    while (waiting < PIPELINE && !socket.writableNeedDrain && received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      const length = received.readUInt16BE(0);
      const reply = answerTo(received.subarray(2, 2 + length));
      received = received.subarray(2 + length);
      if (reply instanceof Promise) {
        waiting += 1;
        void later(reply);
      } else write(reply);
    }
    // What is left is less than one message, unless the pipeline or the socket is full: then the client waits.
    if (waiting >= PIPELINE || socket.writableNeedDrain) socket.pause();
    else socket.resume();
  };

  socket.setNoDelay(true);
  socket.setTimeout(idle, () => {
    if (waiting === 0) socket.destroy();
  });
  socket.on('drain', consume);
  socket.on('data', (chunk) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    consume();
  });
  socket.on('end', () => {
    ended = true;
    finishIfDone();
  });
}

async function bound({ address, port }: ListenAddress): Promise<DatagramSocket> {
  const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', ipv6Only: isIPv6(address) });
  const ready = once(socket, 'listening');
  socket.bind(port, address);
  try {
    await ready;
  } catch (error) {
    socket.close();
    throw error;
  }
  return socket;
}

async function listening({ address, port }: ListenAddress): Promise<Server> {
  const server = createServer({ allowHalfOpen: true });
  const ready = once(server, 'listening');
  server.listen({ host: address, port, ipv6Only: isIPv6(address) });
  await ready;
  return server;
}

function closeDatagrams(socket: DatagramSocket): Promise<void> {
  return new Promise((resolve) => {
    try {
      socket.close(resolve);
    } catch {
      // It was closed already (ERR_SOCKET_DGRAM_NOT_RUNNING).
      resolve();
    }
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
