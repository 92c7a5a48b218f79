import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Agent } from '../platform/http.ts';
import type { ApiServer } from './api-server.ts';
import type { ClientCertificate } from './credential.ts';

/** Makes its connections through {@link ApiServer.dial}. */
export class ApiAgent extends Agent {
  readonly #server: ApiServer;
  readonly #certificate: ClientCertificate | undefined;

  constructor(server: ApiServer, certificate: ClientCertificate | undefined, keepAlive: boolean) {
    super({ keepAlive, maxFreeSockets: 16, scheduling: 'lifo' });
    this.#server = server;
    this.#certificate = certificate;
  }

  override createConnection(_options: unknown, callback?: (error: Error | null, stream: Duplex) => void): undefined {
    void this.#dial(callback ?? (() => {}));
  }

  async #dial(callback: (error: Error | null, stream: Duplex) => void): Promise<void> {
    let socket: Socket;
    try {
      socket = await this.#server.dial(this.#certificate);
    } catch (error) {
      // The type wants a stream beside an error; there is none, and Agent looks for none.
      Reflect.apply(callback, undefined, [error]);
      return;
    }
    callback(null, socket);
  }

  /** Ends the connections that carry no request now. */
  dropIdle(): void {
    for (const sockets of Object.values(this.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
  }
}
