import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { readFileSync, statSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { dialTcp } from '../../forwarder/dial.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { messageOf } from '../../platform/errors.ts';
import { SOL_SOCKET, SO_MARK, descriptorOf, setSocketOption } from '../../platform/libc.ts';
import { endOfQuestion, RCODE } from './message.ts';
import { numericOption, parseResolvConf } from './search.ts';
import type { ResolverConfiguration } from './search.ts';

export interface UpstreamOptions {
  /**
   * Default `/etc/resolv.conf`. What it names is asked, systemd-resolved's stub at 127.0.0.53 included: this process
   * is on the machine's own side, where the stub answers, and only the stub knows the machine's per-link servers.
   */
  readonly path?: string;
  /** Port of the servers; 53 but in tests. */
  readonly port?: number;
  /** Addresses never to be asked: our own, should they get into the machine's resolv.conf. */
  readonly except?: readonly string[];
  /** Most queries in flight. */
  readonly limit?: number;
  /** SO_MARK of the queries, by which a pod's rules know that they are ours. */
  readonly mark?: number;
}

/** The machine's own resolvers, asked with the client's own octets. */
export interface Upstream {
  /**
   * Sends a well-formed query on and resolves with the answer, whose id is the query's. Rejects with UpstreamError
   * when there is no server, none answered in time, or too many queries are under way.
   */
  query(message: Buffer, transport: 'udp' | 'tcp', options?: AbortOptions): Promise<Buffer>;
}

/** Nobody upstream answered. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError';
}

/** How long a server that did not answer is asked after the others. */
const LAME_MILLISECONDS = 30_000;

/**
 * Asks the name servers of resolv.conf(5), which is read again when it changes (looked at once a second while there
 * are queries, as glibc does at each). The order and the codes that lead to the next server are glibc's: no answer,
 * SERVFAIL, NOTIMP, REFUSED. The time is not: glibc's 5 s for each server is also how long our client waits for us, so
 * one round over all servers fits into `timeout` (5 s), and a silent server is asked last for the next 30 s. Two rounds
 * at most, and one datagram more in the middle of each wait.
 */
export function createUpstream(options: UpstreamOptions = {}): Upstream {
  const path = options.path ?? '/etc/resolv.conf';
  const port = options.port ?? 53;
  const limit = options.limit ?? 1024;
  const lameUntil = new Map<string, number>();
  let configuration: ResolverConfiguration = { nameservers: [], search: [], options: [] };
  let stamp = '';
  let lookedAt = -Infinity;
  let active = 0;

  function current(): ResolverConfiguration {
    const now = performance.now();
    if (now - lookedAt < 1000) return configuration;
    lookedAt = now;
    try {
      const { mtimeMs, ino, size } = statSync(path);
      const seen = `${mtimeMs} ${ino} ${size}`;
      if (seen !== stamp) configuration = parseResolvConf(readFileSync(path, 'utf8'));
      stamp = seen;
    } catch {
      // It is replaced just now, or gone: keep what was known.
    }
    return configuration;
  }

  function inOrder(servers: readonly string[]): readonly string[] {
    const now = performance.now();
    const isLame = (server: string): boolean => (lameUntil.get(server) ?? 0) > now;
    return [...servers.filter((server) => !isLame(server)), ...servers.filter((server) => isLame(server))];
  }

  async function query(message: Buffer, transport: 'udp' | 'tcp', { signal }: AbortOptions = {}): Promise<Buffer> {
    const { nameservers } = current();
    const servers = nameservers.filter((server) => options.except?.includes(server) !== true);
    if (servers.length === 0) throw new UpstreamError(`${path} names no server that could be asked`);
    if (active >= limit) throw new UpstreamError(`${limit} queries are under way already`);
    const timeout = Math.min(30, Math.max(1, numericOption(configuration, 'timeout') ?? 5)) * 1000;
    const rounds = Math.min(2, Math.max(1, numericOption(configuration, 'attempts') ?? 2));
    active += 1;
    try {
      return await askInTurn(inOrder(servers), rounds, Math.floor(timeout / servers.length));
    } finally {
      active -= 1;
    }

    async function askInTurn(order: readonly string[], rounds: number, patience: number): Promise<Buffer> {
      let unwilling: Buffer | undefined;
      let failure = '';
      for (let round = 0; round < rounds && unwilling === undefined; round += 1) {
        for (const server of order) {
          signal?.throwIfAborted();
          try {
            const ask = transport === 'udp' ? askByUdp : askByTcp;
            const answer = await ask({ server, port, patience, mark: options.mark, signal }, message);
            lameUntil.delete(server);
            if (!isUnwilling(answer)) return answer;
            unwilling = answer;
          } catch (error) {
            signal?.throwIfAborted();
            failure = `${server}: ${messageOf(error)}`;
            lameUntil.set(server, performance.now() + LAME_MILLISECONDS);
          }
        }
      }
      if (unwilling !== undefined) return unwilling;
      throw new UpstreamError(`no name server answered (${failure})`);
    }
  }

  return { query };
}

function isUnwilling(answer: Buffer): boolean {
  const rcode = answer.readUInt8(3) & 15;
  return rcode === RCODE.SERVFAIL || rcode === RCODE.NOTIMP || rcode === RCODE.REFUSED;
}

/** The query with an id that nobody else knows (RFC 5452 section 9.2). */
function withFreshId(message: Buffer): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(randomInt(0x1_0000), 0);
  return copy;
}

/** Whether a message answers a query: id, QR, and the question but for its case. */
function answers(answer: Buffer, query: Buffer): boolean {
  if (answer.length < 12 || answer.readUInt16BE(0) !== query.readUInt16BE(0) || (answer.readUInt8(2) & 0x80) === 0) return false;
  const end = endOfQuestion(query);
  // Some servers leave the question out of an error.
  if (answer.readUInt16BE(4) === 0) return (answer.readUInt8(3) & 15) !== 0;
  return answer.length >= end && answer.toString('latin1', 12, end).toLowerCase() === query.toString('latin1', 12, end).toLowerCase();
}

/** Calls back once, after a time or when the signal aborts; returns what takes both back. */
function expire(milliseconds: number, signal: AbortSignal | undefined, callback: () => void): () => void {
  const timer = setTimeout(callback, milliseconds);
  signal?.addEventListener('abort', callback, { once: true });
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', callback);
  };
}

/** Whom to ask, and how. */
interface Asking {
  readonly server: string;
  readonly port: number;
  /** Milliseconds. */
  readonly patience: number;
  readonly mark: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** One query from a socket of its own: a fresh source port (RFC 5452), and ICMP errors reach us. */
function askByUdp({ server, port, patience, mark, signal }: Asking, message: Buffer): Promise<Buffer> {
  const query = withFreshId(message);
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const socket = createSocket(isIPv6(server) ? 'udp6' : 'udp4');
  const send = (): void => {
    socket.send(query, (error) => {
      if (error !== null) reject(error);
    });
  };
  const again = setTimeout(send, patience / 2);
  const release = expire(patience, signal, () => reject(new UpstreamError('no answer in time')));
  socket.on('error', reject);
  socket.on('message', (answer) => {
    if (!answers(answer, query)) return;
    message.copy(answer, 0, 0, 2);
    resolve(answer);
  });
  socket.once('connect', () => {
    try {
      const fd = mark === undefined ? undefined : descriptorOf(socket);
      if (fd !== undefined && mark !== undefined) setSocketOption(fd, SOL_SOCKET, SO_MARK, mark);
      send();
    } catch (error) {
      reject(error);
    }
  });
  // Without a callback, which would be given the error of a server to which there is no route: so it is an `error` event.
  socket.connect(port, server);
  return promise.finally(() => {
    clearTimeout(again);
    release();
    socket.close();
  });
}

/** One query over a connection of its own (RFC 7766 framing). */
async function askByTcp({ server, port, patience, mark, signal }: Asking, message: Buffer): Promise<Buffer> {
  const query = withFreshId(message);
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const began = performance.now();
  const socket = await dialTcp(
    { address: server, port },
    { timeoutMilliseconds: patience, ...(mark === undefined ? {} : { mark }), ...(signal === undefined ? {} : { signal }) },
  );
  const release = expire(patience - (performance.now() - began), signal, () => reject(new UpstreamError('no answer in time')));
  let received = Buffer.alloc(0);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(query.length);
  socket.on('error', reject);
  socket.on('close', () => reject(new UpstreamError('the connection was closed without an answer')));
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
    const answer = received.subarray(2, 2 + received.readUInt16BE(0));
    if (!answers(answer, query)) return reject(new UpstreamError('an answer to something else'));
    message.copy(answer, 0, 0, 2);
    resolve(answer);
  });
  socket.resume().write(Buffer.concat([length, query]));
  try {
    return await promise;
  } finally {
    release();
    socket.destroy();
  }
}
