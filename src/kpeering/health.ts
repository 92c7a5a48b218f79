import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { Failure, messageOf, systemCode } from '../platform/errors.ts';
import type { Closeable } from '../platform/owned.ts';
import { metricsType, renderMetrics, type Metric } from './metrics.ts';

/** What `/readyz` tells: 200 only for `ready`. */
export type Readiness = 'starting' | 'ready' | 'draining';

/** Both families; in a network namespace without IPv6, IPv4. */
export const EVERYWHERE = '::';

const HEAD_BYTES = 8192;
const CONNECTIONS = 64;
const PATIENCE_MILLISECONDS = 10_000;

/** An HTTP response. */
export interface Answer {
  readonly status: number;
  readonly type?: string;
  readonly body: string;
}

const reasons: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

/**
 * `/healthz` and `/readyz` for the kubelet's probes, `/metrics` for Prometheus; read-only. On bare sockets, because node:http
 * takes 6 MB of every idle sidecar (decision 0011): one request for each connection, its head at most 8 KiB and answered within 10 s;
 * 64 connections at a time, of which the oldest without a request makes room for a new one.
 */
export class HealthServer implements Closeable {
  readonly port: number;
  readiness: Readiness = 'starting';
  metrics: readonly Metric[];
  /** What a role answers besides, by path. A rejection is a bug. */
  readonly more = new Map<string, () => Promise<Answer>>();
  /** What is told by `/metrics` after `metrics`, in Prometheus' text format. */
  moreMetrics: (() => Promise<string>) | undefined;
  readonly #server: Server;
  /** The oldest first. */
  readonly #sockets = new Set<Socket>();
  /** Those whose request is there. */
  readonly #asked = new WeakSet<Socket>();
  #closed: Promise<void> | undefined;

  private constructor(server: Server, metrics: readonly Metric[]) {
    const address = server.address();
    this.port = typeof address === 'object' && address !== null ? address.port : 0;
    this.metrics = metrics;
    this.#server = server;
    server.on('connection', (socket) => this.#connected(socket));
    // accept(2) can fail for want of file descriptors: libuv goes on, and so do we.
    server.on('error', ignored);
  }

  /** Rejects with a Failure `LISTEN_FAILED`. */
  static async listen(host: string, port: number, metrics: readonly Metric[] = []): Promise<HealthServer> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    try {
      server.listen({ host, port });
      await once(server, 'listening');
    } catch (error) {
      const code = systemCode(error);
      if (host === EVERYWHERE && (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL'))
        return HealthServer.listen('0.0.0.0', port, metrics);
      throw new Failure('LISTEN_FAILED', `cannot listen on ${host}:${port} for health checks`, {
        likely: code === 'EADDRINUSE' ? 'another program has the port' : `the system says ${code ?? 'no'}`,
        cause: error,
      });
    }
    return new HealthServer(server, metrics);
  }

  async close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of this.#sockets) socket.destroy();
    });
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #connected(socket: Socket): void {
    if (this.#sockets.size >= CONNECTIONS) this.#makeRoom();
    this.#sockets.add(socket);
    const timer = setTimeout(() => socket.destroy(), PATIENCE_MILLISECONDS).unref();
    socket.on('error', ignored).once('close', () => {
      clearTimeout(timer);
      this.#sockets.delete(socket);
    });
    let head = '';
    const onData = (chunk: Buffer): void => {
      head += chunk.toString('latin1');
      const complete = /\r?\n\r?\n/u.test(head);
      if (!complete && head.length <= HEAD_BYTES) return;
      socket.off('data', onData);
      // What else comes is read, because a connection that is closed with unread bytes is reset, and the answer lost with it.
      socket.resume();
      this.#asked.add(socket);
      void this.#respond(socket, complete && head.length <= HEAD_BYTES ? head : undefined);
    };
    socket.on('data', onData);
    // After the answer, or in the place of a request.
    socket.on('end', () => {
      if (!this.#asked.has(socket)) socket.end();
    });
  }

  /** Whoever connects and says nothing must not keep the kubelet or Prometheus out. */
  #makeRoom(): void {
    for (const socket of this.#sockets) {
      if (this.#asked.has(socket)) continue;
      this.#drop(socket);
      return;
    }
    const [oldest] = this.#sockets;
    if (oldest !== undefined) this.#drop(oldest);
  }

  #drop(socket: Socket): void {
    this.#sockets.delete(socket);
    socket.destroy();
  }

  /** Never rejects. `head` undefined: a request that is too long. */
  async #respond(socket: Socket, head: string | undefined): Promise<void> {
    const [, method, path] = /^([A-Z]+) ([^ ?]+)[^ ]* HTTP\/1\.[01]\r?\n/u.exec(head ?? '') ?? [];
    let answer: Answer;
    try {
      answer = await this.#answer(head, method, path);
    } catch (error) {
      answer = { status: 500, body: `a bug in kpeering: ${messageOf(error)}\n` };
    }
    socket.end(responseOf(answer, method));
  }

  async #answer(head: string | undefined, method: string | undefined, path: string | undefined): Promise<Answer> {
    if (head === undefined) return { status: 431, body: 'the request is too long\n' };
    if (method === undefined) return { status: 400, body: 'that is not HTTP/1\n' };
    if (method !== 'GET' && method !== 'HEAD') return { status: 405, body: 'only GET\n' };
    switch (path ?? '') {
      case '/healthz':
        return { status: 200, body: 'ok\n' };
      case '/readyz':
        return { status: this.readiness === 'ready' ? 200 : 503, body: `${this.readiness}\n` };
      case '/metrics':
        return { status: 200, type: metricsType, body: `${await renderMetrics(this.metrics)}${(await this.moreMetrics?.()) ?? ''}` };
      default:
        return (await this.more.get(path ?? '')?.()) ?? { status: 404, body: 'there are /healthz, /readyz and /metrics\n' };
    }
  }
}

/** The whole response. */
function responseOf({ status, type = 'text/plain; charset=utf-8', body }: Answer, method: string | undefined): string {
  const lines = [
    `HTTP/1.1 ${status} ${reasons[status]}`,
    `date: ${new Date().toUTCString()}`,
    `content-type: ${type}`,
    `content-length: ${Buffer.byteLength(body)}`,
    ...(status === 405 ? ['allow: GET, HEAD'] : []),
    'connection: close',
  ];
  return `${lines.join('\r\n')}\r\n\r\n${method === 'HEAD' ? '' : body}`;
}

function ignored(): void {}
