import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { Failure, systemCode } from '../platform/errors.ts';
import type { Closeable } from '../platform/owned.ts';

/** What `/readyz` tells: 200 only for `ready`. */
export type Readiness = 'starting' | 'ready' | 'draining';

/** `/healthz` and `/readyz` for the kubelet's probes; read-only. */
export class HealthServer implements Closeable {
  readonly port: number;
  readiness: Readiness = 'starting';
  readonly #server: Server;
  #closed: Promise<void> | undefined;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
    server.on('request', (request, response) => {
      const path = request.url?.split('?', 1)[0];
      response.setHeader('content-type', 'text/plain; charset=utf-8').setHeader('connection', 'close');
      if (request.method !== 'GET' && request.method !== 'HEAD') response.writeHead(405).end('only GET\n');
      else if (path === '/healthz') response.writeHead(200).end('ok\n');
      else if (path === '/readyz') response.writeHead(this.readiness === 'ready' ? 200 : 503).end(`${this.readiness}\n`);
      else response.writeHead(404).end('there are /healthz and /readyz\n');
    });
  }

  /** Rejects with a Failure `LISTEN_FAILED`. */
  static async listen(host: string, port: number): Promise<HealthServer> {
    const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000, maxHeaderSize: 8192 });
    server.listen({ host, port });
    try {
      await once(server, 'listening');
    } catch (error) {
      throw new Failure('LISTEN_FAILED', `cannot listen on ${host}:${port} for health checks`, {
        likely: systemCode(error) === 'EADDRINUSE' ? 'another program has the port' : `the system says ${systemCode(error) ?? 'no'}`,
        cause: error,
      });
    }
    const address = server.address();
    return new HealthServer(server, typeof address === 'object' && address !== null ? address.port : port);
  }

  async close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
