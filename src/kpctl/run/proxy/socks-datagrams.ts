import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { AssociationTable } from '../../../forwarder/index.ts';
import type { Closeable } from '../../../platform/owned.ts';
import type { AssociationHandler } from '../../../simulator/network/index.ts';
import { addressText, AddressKind, encodeAddress } from './socks-address.ts';

export interface SocksDatagramsOptions {
  /** The address of a name; undefined or a rejection: it has none, and the datagram is dropped. */
  readonly resolve: (host: string) => Promise<string | undefined>;
  readonly onAssociation: AssociationHandler;
}

/** Names of one association that are remembered: a program that speaks to more asks again. */
const MOST_NAMES = 256;

/**
 * The UDP port of one UDP ASSOCIATE (RFC 1928, section 7), on 127.0.0.1. Whoever sends first is the client, and nobody else's datagrams
 * count. Fragments are dropped, as the RFC allows.
 */
export class SocksDatagrams implements Closeable {
  readonly #socket: Socket;
  readonly #table: AssociationTable<undefined>;
  readonly #resolve: (host: string) => Promise<string | undefined>;
  readonly #names = new Map<string, Promise<string | undefined>>();
  #client: RemoteInfo | undefined;
  #closing: Promise<void> | undefined;

  private constructor(socket: Socket, { resolve, onAssociation }: SocksDatagramsOptions) {
    this.#socket = socket;
    this.#resolve = resolve;
    this.#table = new AssociationTable({
      open: (_, flow) => onAssociation(flow),
      answer: (payload, { source, destination }) => {
        const header = encodeAddress(destination.address, destination.port);
        if (this.#closing === undefined) socket.send([Buffer.alloc(3), header, payload], source.port, source.address, () => undefined);
      },
    });
    socket.on('error', () => undefined);
    socket.on('message', (datagram, from) => this.#received(datagram, from));
  }

  static async open(options: SocksDatagramsOptions): Promise<SocksDatagrams> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new SocksDatagrams(socket, options);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await this.#table.close();
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }

  #received(datagram: Buffer, from: RemoteInfo): void {
    this.#client ??= from;
    if (from.address !== this.#client.address || from.port !== this.#client.port || this.#closing !== undefined) return;
    // Two bytes reserved, the fragment's number, the kind of the address.
    if (datagram.length < 7 || datagram.readUInt8(2) !== 0) return;
    const kind = datagram.readUInt8(3);
    const start = kind === AddressKind.name ? 5 : 4;
    const length = kind === AddressKind.name ? datagram.readUInt8(4) : kind === AddressKind.four ? 4 : kind === AddressKind.six ? 16 : 0;
    const end = start + length;
    if (length === 0 || datagram.length < end + 2) return;
    const port = datagram.readUInt16BE(end);
    const payload = datagram.subarray(end + 2);
    const source = { address: from.address, port: from.port };
    const address = datagram.subarray(start, end);
    if (kind !== AddressKind.name) this.#table.send(undefined, { source, destination: { address: addressText(address), port } }, payload);
    else
      void this.#byName(address.toString(), (found) =>
        this.#table.send(undefined, { source, destination: { address: found, port } }, payload),
      );
  }

  async #byName(name: string, send: (address: string) => void): Promise<void> {
    let asked = this.#names.get(name);
    if (asked === undefined) {
      if (this.#names.size >= MOST_NAMES) this.#names.clear();
      asked = this.#resolve(name).catch(() => undefined);
      this.#names.set(name, asked);
    }
    const address = await asked;
    if (address === undefined) this.#names.delete(name);
    else if (this.#closing === undefined) send(address);
  }
}
