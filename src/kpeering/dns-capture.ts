import { Failure, systemCode } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import type { Closeable } from '../platform/owned.ts';
import { startDnsServer, type DnsServer } from '../simulator/dns/server.ts';
import { createUpstream } from '../simulator/dns/upstream.ts';
import { loopbackAddresses } from './loopback.ts';

/** How the pod's captured DNS is answered. */
export interface DnsCaptureOptions {
  readonly port: number;
  /** SO_MARK of our own queries. */
  readonly mark?: number;
  readonly log: Logger;
  /** Where the name servers are listed, and their port; but in tests /etc/resolv.conf and 53. */
  readonly resolvConf?: string;
  readonly serverPort?: number;
}

/**
 * Takes the pod's DNS, UDP and TCP, to the pod's own name servers: an answer is theirs as it is. One that does not answer is followed by the
 * next; when none does, the answer is SERVFAIL. At most 1024 queries wait at a time, further ones are SERVFAIL at once.
 */
export class DnsCapture implements Closeable {
  readonly #server: DnsServer;

  private constructor(server: DnsServer) {
    this.#server = server;
  }

  /** Listens on loopback, where nat OUTPUT's redirect lands. Rejects with a Failure `LISTEN_FAILED`. */
  static async listen({ port, mark, log, resolvConf, serverPort }: DnsCaptureOptions): Promise<DnsCapture> {
    const upstream = createUpstream({
      ...(mark === undefined ? {} : { mark }),
      ...(resolvConf === undefined ? {} : { path: resolvConf }),
      ...(serverPort === undefined ? {} : { port: serverPort }),
    });
    const addresses = loopbackAddresses().map((address) => ({ address, port }));
    try {
      const server = await startDnsServer({
        udp: addresses,
        tcp: addresses,
        resolve: async ({ bytes, transport }, options) => upstream.query(bytes, transport, options),
        log,
      });
      return new DnsCapture(server);
    } catch (error) {
      const code = systemCode(error);
      throw new Failure('LISTEN_FAILED', `cannot listen on port ${port} of loopback for captured DNS`, {
        likely: code === 'EADDRINUSE' ? 'another program has the port' : `the system says ${code ?? 'no'}`,
        cause: error,
      });
    }
  }

  async close(): Promise<void> {
    await this.#server.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
