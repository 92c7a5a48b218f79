import {
  createServer,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { messageOf } from '../../../platform/errors.ts';
import type { ProxyAccess } from './access.ts';
import { carry, drop, join } from './carry.ts';
import { Refusal, type Dialled, type Dialler } from './dialler.ts';
import { answerHead, answerHeaders, parseAuthority, parseTarget, requestHeaders, trailerPairs, type Target } from './http-headers.ts';
import { answerText, ownAnswer, refusedAnswer, unauthorized, type OwnAnswer } from './refusals.ts';
import { UpstreamConnections } from './upstream-connections.ts';

/** As Go's servers take; Node's own limit is a quarter of it. */
const MOST_HEADER_BYTES = 64 * 1024;
/** Requests that may be sent a second time (RFC 9110, section 9.2.2), where they have no body. */
const repeatable = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** The proxy's HTTP: CONNECT, and plain requests in absolute form, with keep-alive and upgrade. It is given its connections. */
export class HttpProxy {
  readonly #access: ProxyAccess;
  readonly #dialler: Dialler;
  readonly #server: Server;
  readonly #upstreams = new WeakMap<Socket, UpstreamConnections>();

  constructor(access: ProxyAccess, dialler: Dialler) {
    this.#access = access;
    this.#dialler = dialler;
    // An upload may take as long as it takes, and whoever is idle stays: the destinations' own limits hold.
    this.#server = createServer({
      maxHeaderSize: MOST_HEADER_BYTES,
      requestTimeout: 0,
      keepAliveTimeout: 0,
      requireHostHeader: false,
      // Java offers it with every first request. It is of one hop only, and a proxy that passes it on must speak HTTP/2.
      shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() !== 'h2c',
    });
    this.#server.on('request', (request, response) => void this.#forward(request, response));
    this.#server.on('checkContinue', (request, response) => void this.#forward(request, response));
    this.#server.on('connect', (request, socket: Socket, head) => void this.#connect(request, socket, head));
    this.#server.on('upgrade', (request, socket: Socket, head) => void this.#upgrade(request, socket, head));
  }

  /** A connection whose first bytes are in its buffer. It is this object's from the call on; its errors have a listener already. */
  accept(socket: Socket): void {
    this.#server.emit('connection', socket);
  }

  close(): void {
    // It never listened; what it had set going for its connections ends with them.
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #connect(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    if (!this.#allowed(request)) return endWith(socket, unauthorized);
    const where = parseAuthority(request.url ?? '');
    if (where === undefined) return endWith(socket, ownAnswer(400, 'Bad Request', 'CONNECT takes host:port'));
    const gone = new AbortController();
    const onClose = (): void => gone.abort(new Error('the program has closed its connection'));
    socket.once('close', onClose);
    let dialled: Dialled;
    try {
      dialled = await this.#dialler.dial({ ...where, use: 'bytes', source: sourceOf(socket), signal: gone.signal });
    } catch (error) {
      return endWith(socket, answerTo(error));
    } finally {
      socket.off('close', onClose);
    }
    if (socket.destroyed) return drop(dialled);
    if (head.length > 0) socket.unshift(head);
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    await carry(socket, dialled);
  }

  async #forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.sendDate = false;
    if (!this.#allowed(request)) return answer(request, response, unauthorized);
    const target = parseTarget(request.url ?? '');
    if (target === undefined) return answer(request, response, notAbsolute(request));
    const { method = 'GET' } = request;
    const bodiless = !hasBody(request);
    const attempt = async (again: boolean): Promise<void> => {
      const upstream = await this.#request(request, request.socket, target, { fresh: again });
      const failed = (error: Error): void => {
        if (response.destroyed || response.writableEnded) return;
        if (response.headersSent) return void request.socket.resetAndDestroy();
        // The far end may have closed a connection that was idle just when this request was sent on it.
        if (upstream.reusedSocket && !again && bodiless && repeatable.has(method)) repeat();
        else refused(new Refusal('failed', `${target.authority}: ${messageOf(error)}`, { cause: error }));
      };
      upstream.on('error', failed);
      upstream.on('continue', () => response.writeContinue());
      upstream.on('information', ({ statusCode, headers }) => {
        try {
          if (statusCode === 103 && headers['link'] !== undefined) response.writeEarlyHints({ link: headers['link'] });
        } catch {
          // Node takes not every Link for one; a hint may be left out.
        }
      });
      upstream.on('response', (from) => {
        try {
          passOn(from, response, request.socket);
        } catch (error) {
          // A status that is none, say.
          failed(error instanceof Error ? error : new Error(messageOf(error)));
          upstream.destroy();
        }
      });
      response.once('close', () => response.writableFinished || upstream.destroy());
      if (bodiless) upstream.end();
      else {
        // The server may want to answer before there is a body.
        upstream.flushHeaders();
        request.on('error', () => upstream.destroy()).pipe(upstream);
      }
    };
    const refused = (error: unknown): void => answer(request, response, answerTo(error));
    const repeat = (): void => void attempt(true).catch(refused);
    await attempt(false).catch(refused);
  }

  async #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    if (!this.#allowed(request)) return endWith(socket, unauthorized);
    const target = parseTarget(request.url ?? '');
    if (target === undefined) return endWith(socket, notAbsolute(request));
    let upstream: ClientRequest;
    try {
      upstream = await this.#request(request, socket, target, { fresh: true, upgrade: request.headers.upgrade });
    } catch (error) {
      return endWith(socket, answerTo(error));
    }
    upstream.on('error', (error) => endWith(socket, answerTo(new Refusal('failed', `${target.authority}: ${messageOf(error)}`))));
    upstream.on('upgrade', (from: IncomingMessage, other: Duplex, otherHead: Buffer) => {
      socket.write(answerHead(from.statusCode ?? 101, from.statusMessage ?? '', from.rawHeaders));
      if (head.length > 0) socket.unshift(head);
      if (otherHead.length > 0) other.unshift(otherHead);
      join(socket, other);
    });
    upstream.on('response', (from) => {
      // It does not change the protocol. The socket is no HTTP server's any more, so that this answer is its last.
      socket.write(
        answerHead(from.statusCode ?? 502, from.statusMessage ?? '', [...answerHeaders(from.rawHeaders), 'Connection', 'close']),
      );
      from.on('error', () => socket.resetAndDestroy()).pipe(socket);
    });
    upstream.end();
  }

  /** The request as it is passed on, on a connection that stands. Rejects with Refusal. */
  async #request(
    { method = 'GET', rawHeaders }: IncomingMessage,
    client: Socket,
    target: Target,
    { fresh, upgrade }: { readonly fresh: boolean; readonly upgrade?: string | undefined },
  ): Promise<ClientRequest> {
    let agent = this.#upstreams.get(client);
    if (agent === undefined) this.#upstreams.set(client, (agent = new UpstreamConnections(client, this.#dialler)));
    return await agent.request(target, fresh, ({ requestTarget, proxyAuthorization }) =>
      httpRequest({
        agent,
        host: target.host,
        port: target.port,
        method,
        path: requestTarget,
        headers: requestHeaders({ method, rawHeaders, target, upgrade, proxyAuthorization }),
        maxHeaderSize: MOST_HEADER_BYTES,
      }),
    );
  }

  #allowed(request: IncomingMessage): boolean {
    return this.#access.allowsHeader(request.headers['proxy-authorization']);
  }
}

/** Passes an answer on. One that breaks off resets the program's connection, so that it never looks whole. */
function passOn(from: IncomingMessage, response: ServerResponse, client: Socket): void {
  response.writeHead(from.statusCode ?? 502, from.statusMessage, answerHeaders(from.rawHeaders));
  response.flushHeaders();
  from.on('error', () => client.resetAndDestroy());
  from.on('end', () => {
    if (from.rawTrailers.length > 0) response.addTrailers(trailerPairs(from.rawTrailers));
    response.end();
  });
  from.pipe(response, { end: false });
}

function answer(request: IncomingMessage, response: ServerResponse, { status, phrase, headers, body }: OwnAnswer): void {
  if (response.headersSent || response.destroyed) return void request.socket.destroy();
  // A body that nobody takes would be read as the next request.
  const close = hasBody(request) ? ['Connection', 'close'] : [];
  response.writeHead(status, phrase, [...headers.flat(), ...close]).end(body);
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
}

function endWith(socket: Socket, own: OwnAnswer): void {
  if (!socket.destroyed) socket.resume().end(answerText(own));
}

function answerTo(error: unknown): OwnAnswer {
  return refusedAnswer(error instanceof Refusal ? error : new Refusal('failed', messageOf(error), { cause: error }));
}

function notAbsolute({ url = '' }: IncomingMessage): OwnAnswer {
  if (/^https:/i.test(url)) return ownAnswer(400, 'Bad Request', 'https: is asked for by CONNECT');
  if (/^(?!http:)[a-z][a-z0-9+.-]*:/i.test(url)) return ownAnswer(501, 'Not Implemented', 'this proxy speaks http:, CONNECT and SOCKS5');
  return ownAnswer(400, 'Bad Request', 'this is a proxy: it takes requests with a whole URL, CONNECT and SOCKS5');
}

function sourceOf(socket: Socket): { readonly address: string; readonly port: number } {
  return { address: socket.remoteAddress ?? '127.0.0.1', port: socket.remotePort ?? 0 };
}
