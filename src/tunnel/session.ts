import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { AbortOptions } from '../platform/abort.ts';
import { Failure } from '../platform/errors.ts';
import { ProtocolError, VersionError } from './errors.ts';
import { features } from './frames.ts';
import { encodeHello, readHello, type Hello, type ReceivedHello } from './hello.ts';
import { defaultLivenessTimes, type LivenessTimes } from './liveness.ts';
import { MuxSession } from './mux-session.ts';
import type { Peer, PeerNames, Session, SessionHandlers, Transport } from './types.ts';

/** What this end says of itself. */
export interface LocalHello {
  /** The session's id (`newSessionId`), the same for the reconnects of one `kpctl`. */
  readonly id: string;
  readonly role: Peer['role'];
  /** kpeering's version: `0.1.0`. */
  readonly software: string;
  /** Of a laptop: `alice@mbp`. Of a pod: `shop/web-7d9`. */
  readonly name: string;
  /** Of a laptop: the API server's name of the user, as far as it could be asked. */
  readonly user?: string;
  /** Of a pod: what its resolv.conf says. */
  readonly names?: PeerNames;
}

/** How a session is set up; all of it has defaults. */
export interface SessionOptions extends AbortOptions {
  /** Credit in bytes that the far end has on each stream; 1 MiB. What one stalled stream may cost this end. */
  readonly window?: number;
  /** When a ping is sent, and when the transport is dead. */
  readonly liveness?: LivenessTimes;
  /** How long the HELLOs may take, once the transport is there; 10 s. */
  readonly handshakeMilliseconds?: number;
}

/** For messages: the far end of a session that a pod accepts. */
const LAPTOP = 'a laptop';
const DEFAULT_WINDOW = 1024 * 1024;
const DEFAULT_HANDSHAKE_MILLISECONDS = 10_000;

/** 128 random bits in hex. */
export function newSessionId(): string {
  return randomBytes(16).toString('hex');
}

/**
 * The laptop's end of a session: connects the transport and exchanges HELLOs. Rejects with what `transport.connect` rejects
 * with, a Failure (TUNNEL_CLOSED, TUNNEL_TIMEOUT, TUNNEL_PROTOCOL, TUNNEL_VERSION) or the
 * signal's reason; the duplex is destroyed then.
 */
export async function connectSession(
  transport: Transport,
  hello: LocalHello,
  handlers: SessionHandlers,
  options: SessionOptions = {},
): Promise<Session> {
  const duplex = await transport.connect(options.signal === undefined ? {} : { signal: options.signal });
  const ours = helloOf(hello, hello.id, options);
  return handshake(duplex, options, transport.description, async (signal) => {
    duplex.write(encodeHello(ours));
    const received = await readHello(duplex, transport.description, signal);
    if (received.hello.session !== hello.id) throw new ProtocolError('the far end answered for another session');
    return start(duplex, received, 'laptop', ours, handlers, options);
  });
}

/**
 * The pod's end of a session, on a duplex that a laptop connected. Rejects as `connectSession` does; the duplex is this
 * function's from the call on, and destroyed when it rejects.
 */
export async function acceptSession(
  duplex: Duplex,
  hello: Omit<LocalHello, 'id'>,
  handlers: SessionHandlers,
  options: SessionOptions = {},
): Promise<Session> {
  return handshake(duplex, options, LAPTOP, async (signal) => {
    try {
      const received = await readHello(duplex, LAPTOP, signal);
      const ours = helloOf(hello, received.hello.session, options);
      duplex.write(encodeHello(ours));
      return start(duplex, received, 'pod', ours, handlers, options);
    } catch (error) {
      // The laptop learns our versions from our HELLO, and says what is wrong.
      if (error instanceof VersionError) await written(duplex, encodeHello(helloOf(hello, '0'.repeat(32), options)), signal);
      throw error;
    }
  });
}

function helloOf(hello: Omit<LocalHello, 'id'>, session: string, options: SessionOptions): Hello {
  const { role, software, name, user, names } = hello;
  const window = options.window ?? DEFAULT_WINDOW;
  return {
    session,
    role,
    software,
    name,
    ...(user !== undefined && { user }),
    window,
    features: [...features],
    ...(names !== undefined && { names: { servers: [...names.servers], search: [...names.search] } }),
  };
}

function start(
  duplex: Duplex,
  received: ReceivedHello,
  side: 'laptop' | 'pod',
  ours: Hello,
  handlers: SessionHandlers,
  options: SessionOptions,
): Session {
  const times = options.liveness ?? defaultLivenessTimes;
  const settings = { id: ours.session, side, window: ours.window, times, features: ours.features };
  const session = new MuxSession(duplex, received, settings, handlers);
  session.start(received.rest);
  return session;
}

async function handshake(
  duplex: Duplex,
  options: SessionOptions,
  description: string,
  exchange: (signal: AbortSignal) => Promise<Session>,
): Promise<Session> {
  const milliseconds = options.handshakeMilliseconds ?? DEFAULT_HANDSHAKE_MILLISECONDS;
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(
      new Failure('TUNNEL_TIMEOUT', `the tunnel to ${description} was not answered within ${milliseconds / 1000} s`, {
        likely: 'kpeering hangs there, or the network does',
      }),
    );
  }, milliseconds);
  // Errors reach the reader of the HELLO, and then the link; this covers the moments between, and what comes after destroy().
  duplex.on('error', ignored);
  try {
    return await exchange(options.signal === undefined ? late.signal : AbortSignal.any([options.signal, late.signal]));
  } catch (error) {
    duplex.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function ignored(): void {}

/** Resolves when the bytes are written, the duplex closes or the signal aborts. */
async function written(duplex: Duplex, bytes: Buffer, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    duplex.once('close', resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
    duplex.write(bytes, () => resolve());
  });
}
