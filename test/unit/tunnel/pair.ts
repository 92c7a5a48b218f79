import { once } from 'node:events';
import { connect, createServer, Socket, type AddressInfo, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import ava, { type ExecutionContext } from 'ava';
import { acceptSession, connectSession, newSessionId, type SessionOptions } from '../../../src/tunnel/index.ts';
import type { IncomingStream, Session, SessionHandlers, StreamResetReason, StreamSink, TunnelStream } from '../../../src/tunnel/types.ts';

export const laptopHello = { role: 'laptop', software: '0.1.0', name: 'alice@mbp', user: 'alice' } as const;
export const podHello = { role: 'sidecar', software: '0.1.0', name: 'shop/web-7d9' } as const;
export const request = { kind: 'dial', destination: { address: '10.0.0.1', port: 80 } } as const;

export function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on a port');
  return address.port;
}

/** The next socket that the server accepts. */
export async function connectionOf(server: Server): Promise<Socket> {
  return new Promise((resolve) => server.once('connection', resolve));
}

/** The next chunk that the socket reads. */
export async function chunkOf(socket: Socket): Promise<Buffer> {
  return new Promise((resolve) => socket.once('data', resolve));
}

/** Two TCP sockets on loopback that are connected to each other. */
export async function socketPair(): Promise<readonly [Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = connectionOf(server);
  const near = connect({ host: '127.0.0.1', port: portOf(server), allowHalfOpen: true, noDelay: true });
  await once(near, 'connect');
  const far = await accepted;
  server.close();
  return [near, far];
}

export function handlers(changes: Partial<SessionHandlers> = {}): SessionHandlers {
  return {
    incoming: (stream) => stream.refuse('unsupported', 'this test takes no streams'),
    request: async () => null,
    notified: () => undefined,
    ...changes,
  };
}

export interface Pair {
  readonly laptop: Session;
  readonly pod: Session;
  /** The transport's ends: TCP sockets unless `overTransport` says otherwise. */
  readonly sockets: readonly [Duplex, Duplex];
}

/** A test of the tunnel. Over a transport of its own each has the process to itself: their deadlines are short. */
export function test(title: string, body: (t: ExecutionContext) => Promise<void> | void): void {
  if (makeTransport === socketPair) ava(title, body);
  else ava.serial(title, body);
}

type MakeTransport = (t: ExecutionContext) => Promise<readonly [Duplex, Duplex]>;
let makeTransport: MakeTransport = socketPair;

/** What the sessions of this process's pairs run over from now on. */
export function overTransport(make: MakeTransport): void {
  makeTransport = make;
}

/** Ends a transport at one side, as a network does that breaks. */
export function breakOff(end: Duplex): void {
  if (end instanceof Socket) end.resetAndDestroy();
  else end.destroy();
}

/** Two sessions over a real transport; both are closed, and both of its ends seen closed, when the test ends. */
export async function sessionPair(
  t: ExecutionContext,
  laptop: Partial<SessionHandlers> = {},
  pod: Partial<SessionHandlers> = {},
  options: SessionOptions = {},
): Promise<Pair> {
  const sockets = await makeTransport(t);
  const accepting = acceptSession(sockets[1], podHello, handlers(pod), options);
  const transport = { description: 'the pair of a test', connect: async () => sockets[0] };
  const sessions = await Promise.all([
    connectSession(transport, { ...laptopHello, id: newSessionId() }, handlers(laptop), options),
    accepting,
  ]);
  t.teardown(async () => {
    await Promise.all(sessions.map(async (session) => session.close()));
    for (const socket of sockets) if (!socket.closed) await once(socket, 'close');
  });
  return { laptop: sessions[0], pod: sessions[1], sockets };
}

/** A sink that notes what comes. */
export class Recorder implements StreamSink {
  readonly chunks: Buffer[] = [];
  bytes = 0;
  drains = 0;
  readonly finished: Promise<'end' | StreamResetReason>;
  readonly #finish: (how: 'end' | StreamResetReason) => void;
  readonly #stream: TunnelStream;
  readonly #consume: boolean;
  #changed: (() => void) | undefined;

  constructor(stream: TunnelStream, consume = true) {
    this.#stream = stream;
    this.#consume = consume;
    const { promise, resolve } = Promise.withResolvers<'end' | StreamResetReason>();
    this.finished = promise;
    this.#finish = resolve;
    stream.attach(this);
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }

  data(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.bytes += chunk.length;
    if (this.#consume) this.#stream.consumed(chunk.length);
    this.#changed?.();
  }

  end(): void {
    this.#finish('end');
    this.#changed?.();
  }

  reset(reason: StreamResetReason): void {
    this.#finish(reason);
    this.#changed?.();
  }

  drain(): void {
    this.drains += 1;
    this.#changed?.();
  }

  /** Resolves when the condition holds, which is looked at after everything that comes. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#changed = resolve;
      await promise;
    }
  }
}

/** Opens a stream from the laptop that the pod accepts. */
export function acceptor(): { readonly incoming: (stream: IncomingStream) => void; readonly next: () => Promise<TunnelStream> } {
  const waiting: ((stream: TunnelStream) => void)[] = [];
  const accepted: TunnelStream[] = [];
  return {
    incoming: (stream) => {
      const tunnel = stream.accept();
      const take = waiting.shift();
      if (take === undefined) accepted.push(tunnel);
      else take(tunnel);
    },
    next: async () => accepted.shift() ?? new Promise((resolve) => waiting.push(resolve)),
  };
}
