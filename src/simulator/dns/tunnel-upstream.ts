import { randomInt } from 'node:crypto';
import { formatEndpoint } from '../../forwarder/dial.ts';
import { deadline, type AbortOptions } from '../../platform/abort.ts';
import { messageOf } from '../../platform/errors.ts';
import { OpenError } from '../../tunnel/errors.ts';
import type { Endpoint, Session } from '../../tunnel/types.ts';
import { answersQuery, withId } from './matching.ts';
import { clusterDomain } from './search.ts';
import { NoServerError, UpstreamError, type Upstream } from './upstream.ts';

type NamedSession = Pick<Session, 'openAssociation' | 'open' | 'peer'>;

export interface TunnelUpstreamOptions {
  /** The session through which the cluster is asked; may wait for one that is being repaired. */
  readonly session: (options: AbortOptions) => Promise<NamedSession>;
  /** How long all of a query may take. Default 4 s: below the 5 s that glibc waits. */
  readonly patienceMilliseconds?: number;
  /** Most queries in flight. */
  readonly limit?: number;
}

/** A datagram that was not answered is sent again after this, and the next server is asked. */
const RETRY_MILLISECONDS = 1000;

/**
 * The cluster's own name servers, asked through the tunnel: those that the far end's pod uses itself, as its HELLO
 * says. A query by UDP is an association of its own (a fresh source port each, RFC 5452), one by TCP a stream. Rejects
 * with NoServerError where the far end does not tell its name servers (an older kpeering), or where they are not the
 * cluster's.
 */
export function createTunnelUpstream(options: TunnelUpstreamOptions): Upstream {
  const patience = options.patienceMilliseconds ?? 4000;
  const limit = options.limit ?? 512;
  let active = 0;

  async function query(message: Buffer, transport: 'udp' | 'tcp', abort: AbortOptions = {}): Promise<Buffer> {
    if (active >= limit) throw new UpstreamError(`${limit} queries of the cluster are under way already`);
    active += 1;
    const signal = deadline(patience, abort.signal);
    try {
      // First: nobody would hear a session's rejection.
      signal.throwIfAborted();
      const session = await unlessAborted(options.session({ signal }), signal);
      const servers = serversOf(session);
      return transport === 'udp' ? await byUdp(session, servers, message, signal) : await byTcp(session, servers, message, signal);
    } catch (error) {
      abort.signal?.throwIfAborted();
      if (error instanceof UpstreamError) throw error;
      throw new UpstreamError(signal.aborted ? "the cluster's name servers did not answer in time" : messageOf(error), { cause: error });
    } finally {
      active -= 1;
    }
  }

  return { query };
}

function serversOf({ peer }: NamedSession): readonly [Endpoint, ...Endpoint[]] {
  const { servers: addresses, search } = peer.names ?? { servers: [], search: [] };
  const [first, ...others] = clusterDomain(search) === undefined ? [] : addresses.map((address) => ({ address, port: 53 }));
  if (first === undefined) throw new NoServerError(`${peer.name} does not tell the cluster's name servers`);
  return [first, ...others];
}

/** Asks one server after the other, again and again, until one answers. */
async function byUdp(
  session: NamedSession,
  servers: readonly [Endpoint, ...Endpoint[]],
  message: Buffer,
  signal: AbortSignal,
): Promise<Buffer> {
  const query = withId(message, randomInt(0x1_0000));
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const open = new Set<{ close(): void }>();
  let turn = 0;
  const send = (): void => {
    const destination = servers[turn % servers.length] ?? servers[0];
    turn += 1;
    try {
      const association = session.openAssociation({ kind: 'dial', destination });
      open.add(association);
      association.attach({
        datagram: (answer) => {
          if (answersQuery(answer, query)) resolve(withId(answer, message.readUInt16BE(0)));
        },
        closed: (end) => {
          open.delete(association);
          if (end.kind === 'session-lost') reject(new UpstreamError('the tunnel was lost'));
          else if (end.kind === 'refused' && turn < servers.length) send();
          else if (end.kind === 'refused' && open.size === 0) reject(new UpstreamError(`${formatEndpoint(destination)}: ${end.message}`));
        },
      });
      association.send(query);
    } catch (error) {
      if (error instanceof OpenError && error.errorClass === 'unsupported') resolve(byTcp(session, servers, message, signal));
      else reject(error);
    }
  };
  const again = setInterval(send, RETRY_MILLISECONDS);
  const abort = (): void => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  send();
  try {
    return await promise;
  } finally {
    clearInterval(again);
    signal.removeEventListener('abort', abort);
    for (const association of open) association.close();
  }
}

/** Asks the first server that can be reached. */
async function byTcp(
  session: NamedSession,
  servers: readonly [Endpoint, ...Endpoint[]],
  message: Buffer,
  signal: AbortSignal,
): Promise<Buffer> {
  let failure: unknown;
  for (const destination of servers) {
    try {
      return await overStream(session, destination, message, signal);
    } catch (error) {
      signal.throwIfAborted();
      failure = error;
    }
  }
  throw failure;
}

/** One query over a stream of its own (RFC 7766 framing). */
async function overStream(session: NamedSession, destination: Endpoint, message: Buffer, signal: AbortSignal): Promise<Buffer> {
  const query = withId(message, randomInt(0x1_0000));
  const stream = await session.open({ kind: 'dial', destination }, { signal });
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  let received = Buffer.alloc(0);
  const abort = (): void => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  stream.attach({
    data: (chunk) => {
      received = Buffer.concat([received, chunk]);
      stream.consumed(chunk.length);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const answer = received.subarray(2, 2 + received.readUInt16BE(0));
      if (answersQuery(answer, query)) resolve(withId(answer, message.readUInt16BE(0)));
      else reject(new UpstreamError('an answer to something else'));
    },
    end: () => reject(new UpstreamError(`${formatEndpoint(destination)} closed the connection without an answer`)),
    reset: () => reject(new UpstreamError(`${formatEndpoint(destination)} reset the connection`)),
    drain: () => {},
  });
  const length = Buffer.alloc(2);
  length.writeUInt16BE(query.length);
  stream.write(Buffer.concat([length, query]));
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', abort);
    stream.reset();
  }
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
