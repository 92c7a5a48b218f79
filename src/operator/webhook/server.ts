import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { Failure, systemCode } from '../../platform/errors.ts';
import type { Closeable } from '../../platform/owned.ts';
import { WEBHOOK_PATH } from '../names.ts';
import type { AdmissionAnswer } from './admission.ts';

/** The API server takes objects of 3 MiB at most, and a review has one of them, and a little more. */
const MOST_BYTES = 8 * 1024 * 1024;
/** Of all requests together, so that whoever reaches the port cannot have us ended for want of memory (our limit is 384 MiB). */
const MOST_HELD_BYTES = 64 * 1024 * 1024;
const HEAD_MILLISECONDS = 5_000;
const REQUEST_MILLISECONDS = 10_000;
/**
 * The API server drops a connection that has been idle for 90 s (Go's default transport). Were we first, a request that is sent just then would
 * be lost, and its pod not be injected.
 */
const IDLE_MILLISECONDS = 120_000;
const CONNECTIONS = 1_000;

export interface WebhookServerOptions {
  /** `::` for both families. */
  readonly host: string;
  /** 0: the kernel's choice. */
  readonly port: number;
  readonly certificate: ServedCertificate;
  /** The answer to the body of a request. Never rejects. */
  readonly answer: (body: string) => Promise<AdmissionAnswer>;
  readonly onHandshakeFailed: () => void;
}

/** PEM. */
export interface ServedCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** HTTPS for the API server: POST {@link WEBHOOK_PATH}, and nothing else. */
export class WebhookServer implements Closeable {
  readonly port: number;
  readonly #server: Server;
  readonly #options: WebhookServerOptions;
  #draining = false;
  /** Bytes of requests that have not been answered. */
  #held = 0;
  #closed: Promise<void> | undefined;

  private constructor(server: Server, options: WebhookServerOptions) {
    const address = server.address();
    this.port = typeof address === 'object' && address !== null ? address.port : 0;
    this.#server = server;
    this.#options = options;
    server.on('request', (request, response) => void this.#respond(request, response));
    server.on('tlsClientError', options.onHandshakeFailed);
    // accept(2) can fail for want of file descriptors: libuv goes on, and so do we.
    server.on('error', ignored);
  }

  /** Rejects with a Failure `LISTEN_FAILED`. */
  static async listen(options: WebhookServerOptions): Promise<WebhookServer> {
    const { host, port } = options;
    const server = createServer({
      ...contextOf(options.certificate),
      handshakeTimeout: HEAD_MILLISECONDS,
      headersTimeout: HEAD_MILLISECONDS,
      requestTimeout: REQUEST_MILLISECONDS,
      keepAliveTimeout: IDLE_MILLISECONDS,
      connectionsCheckingInterval: 1_000,
    });
    server.maxConnections = CONNECTIONS;
    try {
      server.listen({ host, port });
      await once(server, 'listening');
    } catch (error) {
      const code = systemCode(error);
      // A network namespace without IPv6.
      if (host === '::' && (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL'))
        return WebhookServer.listen({ ...options, host: '0.0.0.0' });
      throw new Failure('LISTEN_FAILED', `cannot listen on ${host}:${port} for the API server`, {
        likely: code === 'EADDRINUSE' ? 'another program has the port' : `the system says ${code ?? 'no'}`,
        cause: error,
      });
    }
    return new WebhookServer(server, options);
  }

  /** New connections are given this certificate; those that are open go on. */
  setCertificate(certificate: ServedCertificate): void {
    this.#server.setSecureContext(contextOf(certificate));
  }

  /** From now on each answer is its connection's last, so that callers come to connect to others. */
  drain(): void {
    this.#draining = true;
  }

  /** Ends connections that carry nothing, and waits for the answers that are under way: ten seconds at the most. */
  async close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#draining = true;
      const late = setTimeout(() => this.#server.closeAllConnections(), REQUEST_MILLISECONDS);
      this.#server.close(() => {
        clearTimeout(late);
        resolve();
      });
    });
    await this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Never rejects. */
  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', ignored);
    if (request.url?.split('?')[0] !== WEBHOOK_PATH) return this.#end(response, 404, `there is only ${WEBHOOK_PATH}\n`);
    if (request.method !== 'POST') return this.#end(response.setHeader('allow', 'POST'), 405, 'only POST\n');
    const held = { bytes: 0 };
    try {
      const body = await this.#bodyOf(request, held);
      if (typeof body === 'number') return this.#end(response.setHeader('connection', 'close'), body, refusals[body]);
      const { status, body: text } = await this.#options.answer(body);
      this.#end(response, status, text);
    } catch {
      // The caller has gone; nobody hears an answer.
      response.destroy();
    } finally {
      this.#held -= held.bytes;
    }
  }

  /** Its text, or the status that refuses it. What is taken of the memory for all is counted in `held`. */
  async #bodyOf(request: IncomingMessage, held: { bytes: number }): Promise<string | keyof typeof refusals> {
    const chunks: Buffer[] = [];
    let refusal: keyof typeof refusals | undefined;
    // Read to its end also when it is refused, within the time that a request may take: else the answer would be lost with a reset.
    for await (const chunk of request as AsyncIterable<Buffer>) {
      if (refusal !== undefined) continue;
      if (held.bytes + chunk.length > MOST_BYTES) refusal = 413;
      else if (this.#held + chunk.length > MOST_HELD_BYTES) refusal = 503;
      if (refusal !== undefined) {
        chunks.length = 0;
        this.#held -= held.bytes;
        held.bytes = 0;
        continue;
      }
      held.bytes += chunk.length;
      this.#held += chunk.length;
      chunks.push(chunk);
    }
    return refusal ?? Buffer.concat(chunks).toString();
  }

  #end(response: ServerResponse, status: number, body: string): void {
    if (this.#draining) response.setHeader('connection', 'close');
    response.writeHead(status, {
      'content-type': status === 200 ? 'application/json' : 'text/plain; charset=utf-8',
      'content-length': Buffer.byteLength(body),
    });
    response.end(body);
  }
}

const refusals = { 413: `at most ${MOST_BYTES} bytes\n`, 503: 'too many requests at once\n' } as const;

function contextOf({ certificate, key }: ServedCertificate) {
  return { cert: certificate, key, minVersion: 'TLSv1.2' } as const;
}

function ignored(): void {}
