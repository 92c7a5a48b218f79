import { randomInt } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { dialTcp, formatEndpoint } from '../../forwarder/dial.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { messageOf } from '../../platform/errors.ts';
import type { Endpoint } from '../../tunnel/types.ts';
import { answersQuery, withId } from './matching.ts';
import { RCODE } from './message.ts';
import { UdpExchange } from './udp-exchange.ts';
import { numericOption, parseResolvConf } from './search.ts';
import type { ResolverConfiguration } from './search.ts';

export interface UpstreamOptions {
  /** Who is asked, in the place of a resolv.conf: called for every query, so that it may change. */
  readonly servers?: () => readonly Endpoint[];
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

/** Name servers, asked with the client's own octets. */
export interface Upstream {
  /**
   * Sends a well-formed query on and resolves with the answer, whose id is the query's. Rejects with UpstreamError
   * when there is no server (NoServerError), none answered in time, or too many queries are under way.
   */
  query(message: Buffer, transport: 'udp' | 'tcp', options?: AbortOptions): Promise<Buffer>;
  /** Another value from when on others are asked: then what was answered before need not hold any more. */
  readonly revision?: string;
}

/** Nobody upstream answered. */
export class UpstreamError extends Error {
  override readonly name: string = 'UpstreamError';
}

/** There is nobody to ask. */
export class NoServerError extends UpstreamError {
  override readonly name = 'NoServerError';
}

/** How long a server that did not answer is asked after the others. */
const LAME_MILLISECONDS = 30_000;
/** Servers that are remembered. */
const MOST_SERVERS = 16;

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
  const listed = options.servers;
  const limit = options.limit ?? 1024;
  const lameUntil = new Map<string, number>();
  const exchanges = new Map<string, UdpExchange>();
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

  function servers(): readonly Endpoint[] {
    const all = listed?.() ?? current().nameservers.map((address) => ({ address, port }));
    return all.filter(({ address }) => options.except?.includes(address) !== true);
  }

  function exchangeWith(server: Endpoint): UdpExchange {
    const key = formatEndpoint(server);
    const known = exchanges.get(key);
    if (known !== undefined) return known;
    // Servers change with the network; those of before are soon not asked any more.
    if (exchanges.size >= MOST_SERVERS) exchanges.clear();
    const exchange = new UdpExchange(server, options.mark);
    exchanges.set(key, exchange);
    return exchange;
  }

  function inOrder(all: readonly Endpoint[]): readonly Endpoint[] {
    const now = performance.now();
    const isLame = (server: Endpoint): boolean => (lameUntil.get(formatEndpoint(server)) ?? 0) > now;
    return [...all.filter((server) => !isLame(server)), ...all.filter((server) => isLame(server))];
  }

  async function query(message: Buffer, transport: 'udp' | 'tcp', { signal }: AbortOptions = {}): Promise<Buffer> {
    const asked = servers();
    if (asked.length === 0) throw new NoServerError(`${listed === undefined ? path : 'the system'} names no server that could be asked`);
    if (active >= limit) throw new UpstreamError(`${limit} queries are under way already`);
    const timeout = Math.min(30, Math.max(1, numericOption(configuration, 'timeout') ?? 5)) * 1000;
    const rounds = Math.min(2, Math.max(1, numericOption(configuration, 'attempts') ?? 2));
    active += 1;
    try {
      return await askInTurn(inOrder(asked), rounds, Math.floor(timeout / asked.length));
    } finally {
      active -= 1;
    }

    async function askInTurn(order: readonly Endpoint[], rounds: number, patience: number): Promise<Buffer> {
      let unwilling: Buffer | undefined;
      let failure = '';
      for (let round = 0; round < rounds && unwilling === undefined; round += 1) {
        for (const server of order) {
          signal?.throwIfAborted();
          try {
            const asking = { ...server, patience, mark: options.mark, signal };
            const answer = transport === 'udp' ? await askByUdp(exchangeWith(server), asking, message) : await askByTcp(asking, message);
            lameUntil.delete(formatEndpoint(server));
            if (!isUnwilling(answer)) return answer;
            unwilling = answer;
          } catch (error) {
            signal?.throwIfAborted();
            failure = `${formatEndpoint(server)}: ${messageOf(error)}`;
            lameUntil.set(formatEndpoint(server), performance.now() + LAME_MILLISECONDS);
          }
        }
      }
      if (unwilling !== undefined) return unwilling;
      throw new UpstreamError(`no name server answered (${failure})`);
    }
  }

  return {
    query,
    get revision() {
      return servers().map(formatEndpoint).join(' ');
    },
  };
}

function isUnwilling(answer: Buffer): boolean {
  const rcode = answer.readUInt8(3) & 15;
  return rcode === RCODE.SERVFAIL || rcode === RCODE.NOTIMP || rcode === RCODE.REFUSED;
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
  readonly address: string;
  readonly port: number;
  /** Milliseconds. */
  readonly patience: number;
  readonly mark: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** One query, sent once more in the middle of the wait. */
async function askByUdp(exchange: UdpExchange, { patience, signal }: Asking, message: Buffer): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const { again, release } = exchange.ask(message, resolve, reject);
  const halfway = setTimeout(again, patience / 2);
  const unexpire = expire(patience, signal, () => reject(new UpstreamError('no answer in time')));
  try {
    return await promise;
  } finally {
    clearTimeout(halfway);
    unexpire();
    release();
  }
}

/** One query over a connection of its own (RFC 7766 framing). */
async function askByTcp({ address, port, patience, mark, signal }: Asking, message: Buffer): Promise<Buffer> {
  // An id that nobody else knows (RFC 5452 section 9.2).
  const query = withId(message, randomInt(0x1_0000));
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const began = performance.now();
  const socket = await dialTcp(
    { address, port },
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
    if (!answersQuery(answer, query)) return reject(new UpstreamError('an answer to something else'));
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
