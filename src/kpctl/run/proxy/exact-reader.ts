import type { Socket } from 'node:net';

/** The connection ended before all that was wanted had come. */
export class ShortReadError extends Error {
  override readonly name = 'ShortReadError';
}

/** Reads exact numbers of bytes from a socket, one read at a time; what follows stays in the socket for its next owner. */
export class ExactReader implements Disposable {
  readonly #socket: Socket;
  #wanted: { readonly count: number; readonly resolve: (bytes: Buffer) => void; readonly reject: (error: Error) => void } | undefined;
  readonly #serve = (): void => {
    if (this.#wanted === undefined) return;
    const bytes: unknown = this.#socket.read(this.#wanted.count);
    if (!Buffer.isBuffer(bytes)) return;
    const { count, resolve, reject } = this.#wanted;
    this.#wanted = undefined;
    // At its end a socket hands out what is left, however little.
    if (bytes.length === count) resolve(bytes);
    else reject(new ShortReadError('the connection has ended'));
  };
  readonly #fail = (): void => {
    this.#wanted?.reject(new ShortReadError('the connection has ended'));
    this.#wanted = undefined;
  };

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('readable', this.#serve).on('end', this.#fail).on('close', this.#fail);
  }

  /** Rejects with ShortReadError. `count` is at least 1. */
  async bytes(count: number): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    this.#wanted = { count, resolve, reject };
    if (this.#socket.destroyed) this.#fail();
    else this.#serve();
    return await promise;
  }

  async byte(): Promise<number> {
    return (await this.bytes(1)).readUInt8(0);
  }

  [Symbol.dispose](): void {
    this.#socket.off('readable', this.#serve).off('end', this.#fail).off('close', this.#fail);
  }
}
