import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { DRAINING_NOTICE } from '../claims/notices.ts';
import { formatEndpoint } from '../forwarder/dial.ts';
import { Failure, messageOf, systemCode } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import type {
  DialErrorClass,
  Endpoint,
  IncomingAssociation,
  IncomingStream,
  LocalHello,
  OpenRequest,
  Session,
  SessionEnd,
  SessionHandlers,
  SessionOptions,
} from '../tunnel/index.ts';
import { isOwnPort } from './own-ports.ts';
import type * as sessionCode from './session-code.ts';

/** See session-code.ts. */
type SessionCode = typeof sessionCode;

/** The tunnel is never offered beyond the pod's loopback: who may reach it is the API server's decision (port-forward). */
const HOST = '127.0.0.1';
/** Associations that all laptops together may have: each costs a socket here. */
const MAXIMUM_ASSOCIATIONS = 8192;

/** How a tunnel endpoint is set up. */
export interface EndpointOptions {
  readonly port: number;
  readonly hello: Omit<LocalHello, 'id'>;
  /** Answers a laptop's requests; throws RequestError. */
  readonly answer: (session: Session, method: string, parameters: unknown) => unknown;
  /** Told of the end of each session, before anybody who waits for `session.ended`. */
  readonly onEnded?: (session: Session, end: SessionEnd) => void;
  /** Ports of kpeering in this pod, that no laptop may dial; the tunnel's own is always one. */
  readonly ownPorts: () => readonly number[];
  /** Whether laptops may dial at all. Default: true. */
  readonly dials?: boolean;
  /** SO_MARK of what is dialled for laptops, by which the pod's rules know it. */
  readonly mark?: number;
  readonly log: Logger;
  readonly session?: SessionOptions;
}

/** Accepts laptops' tunnels, and dials from the pod what they ask for. */
export class TunnelEndpoint implements Closeable {
  readonly port: number;
  readonly #server: Server;
  readonly #options: EndpointOptions;
  readonly #sessions = new Map<Session, Promise<unknown>>();
  /** Connections whose HELLO has not come yet. */
  readonly #greeting = new Set<Socket>();
  readonly #changes = new Set<() => void>();
  #dials = 0;
  #associations = 0;
  #closed: Promise<void> | undefined;

  private constructor(server: Server, port: number, options: EndpointOptions) {
    this.#server = server;
    this.port = port;
    this.#options = options;
    server.on('connection', (socket) => void this.#connected(socket));
    server.on('error', (error) => options.log.warn({ err: error }, 'the tunnel endpoint could not accept'));
  }

  /** Listens on 127.0.0.1. Rejects with a Failure `LISTEN_FAILED`. */
  static async listen(options: EndpointOptions): Promise<TunnelEndpoint> {
    const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true });
    server.listen({ host: HOST, port: options.port, backlog: 128 });
    try {
      await once(server, 'listening');
    } catch (error) {
      throw new Failure('LISTEN_FAILED', `cannot listen on ${HOST}:${options.port} for tunnels`, {
        likely: systemCode(error) === 'EADDRINUSE' ? 'another program has the port' : `the system says ${systemCode(error) ?? 'no'}`,
        cause: error,
      });
    }
    const address = server.address();
    return new TunnelEndpoint(server, typeof address === 'object' && address !== null ? address.port : options.port, options);
  }

  get sessions(): readonly Session[] {
    return [...this.#sessions.keys()];
  }

  /** TCP connections that laptops have dialled through this pod, and that have not ended. */
  get activeDials(): number {
    return this.#dials;
  }

  /** The same of UDP associations. They have no end that one could wait for, and hold nothing up. */
  get activeAssociations(): number {
    return this.#associations;
  }

  /** Resolves when no dialled connection is left. */
  async whenIdle(): Promise<void> {
    while (this.#dials > 0) await new Promise<void>((resolve) => this.#changes.add(resolve));
  }

  /** Stops accepting tunnels; those that are there go on, and their laptops are told to use others where they can. */
  stopAccepting(): void {
    if (!this.#server.listening) return;
    this.#server.close();
    for (const session of this.#sessions.keys()) session.notify(DRAINING_NOTICE, {});
  }

  /** Stops accepting, says goodbye to every session (which resets what is still open), waits for their ends. */
  async close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.stopAccepting();
    for (const socket of this.#greeting) socket.destroy();
    await Promise.all([...this.#sessions].map(([session, ended]) => Promise.all([session.close(), ended])));
  }

  async #connected(socket: Socket): Promise<void> {
    const { hello, log } = this.#options;
    this.#greeting.add(socket);
    // It is paused until the session reads it.
    socket.on('error', ignored);
    // The session's handlers can be called only after it has started, and it starts when acceptSession resolves.
    const started = Promise.withResolvers<Session>();
    started.promise.catch(() => undefined);
    try {
      const code = await import('./session-code.ts');
      const handlers: SessionHandlers = {
        incoming: (stream) => void this.#incoming(code, stream),
        incomingAssociation: (association) => void this.#incomingAssociation(code, association),
        request: async (method, parameters) => this.#options.answer(await started.promise, method, parameters),
        notified: (method) => log.debug({ method }, 'a notification of an unknown kind'),
      };
      const session = await code.acceptSession(socket, hello, handlers, this.#options.session);
      this.#started(session);
      started.resolve(session);
    } catch (error) {
      started.reject(error);
      // A probe of the port, or an old kpctl: its own end says so too.
      log.info({ reason: messageOf(error) }, 'a connection to the tunnel did not become a session');
    } finally {
      this.#greeting.delete(socket);
    }
  }

  #started(session: Session): void {
    const { log, onEnded } = this.#options;
    const { id, peer } = session;
    log.info({ session: id.slice(0, 8), laptop: peer.name, user: peer.user, software: peer.software }, 'a laptop has connected');
    const before = this.sessions.find((other) => other.id === id);
    const ended = this.#watch(session);
    this.#sessions.set(session, ended);
    // The laptop has given its old transport up before we noticed. It was heard just now: its claims wait for it from now on.
    if (before !== undefined) {
      onEnded?.(before, { kind: 'lost', cause: new Error('superseded'), lastHeard: performance.now() });
      before.abort(new Error('the laptop has connected anew'));
    }
  }

  async #watch(session: Session): Promise<void> {
    const end = await session.ended;
    this.#sessions.delete(session);
    const why = end.kind === 'lost' ? messageOf(end.cause) : end.kind;
    this.#options.log.info({ session: session.id.slice(0, 8), laptop: session.peer.name, why }, 'a laptop has gone');
    this.#options.onEnded?.(session, end);
  }

  async #incoming({ answerDial }: SessionCode, stream: IncomingStream): Promise<void> {
    const refusal = this.#refusal(stream.request);
    if (refusal !== undefined) {
      stream.refuse(...refusal);
      return;
    }
    this.#dials += 1;
    try {
      await answerDial(stream, stream.request.destination, this.#marked());
    } catch (error) {
      this.#options.log.error({ err: error }, 'a bug: a dialled flow failed');
    } finally {
      this.#dials -= 1;
      for (const resolve of this.#changes) resolve();
      this.#changes.clear();
    }
  }

  async #incomingAssociation({ answerAssociation }: SessionCode, association: IncomingAssociation): Promise<void> {
    const full: Refusal = ['failed', 'too many UDP associations at once'];
    const refusal = this.#refusal(association.request) ?? (this.#associations < MAXIMUM_ASSOCIATIONS ? undefined : full);
    if (refusal !== undefined) {
      association.refuse(...refusal);
      return;
    }
    this.#associations += 1;
    try {
      await answerAssociation(association, association.request.destination, this.#marked());
    } catch (error) {
      this.#options.log.error({ err: error }, 'a bug: a dialled association failed');
    } finally {
      this.#associations -= 1;
    }
  }

  #refusal({ kind, destination }: OpenRequest): Refusal | undefined {
    if (kind !== 'dial') return ['unsupported', 'a pod takes no claimed flows'];
    if (this.#options.dials === false)
      return ['denied', 'this pod dials nothing for laptops: its annotation kpeering.io/outbound is disabled'];
    if (!this.#isOwn(destination)) return undefined;
    return ['denied', `${formatEndpoint(destination)} is a port of kpeering itself`];
  }

  #isOwn(destination: Endpoint): boolean {
    return isOwnPort(destination, [this.port, ...this.#options.ownPorts()]);
  }

  #marked(): { readonly mark?: number } {
    const { mark } = this.#options;
    return mark === undefined ? {} : { mark };
  }
}

type Refusal = readonly [DialErrorClass, string];

function ignored(): void {}
