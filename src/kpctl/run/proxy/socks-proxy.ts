import type { Socket } from 'node:net';
import { messageOf } from '../../../platform/errors.ts';
import type { AssociationHandler } from '../../../simulator/network/index.ts';
import type { ProxyAccess } from './access.ts';
import { carry, drop } from './carry.ts';
import { Refusal, type Dialled, type Dialler } from './dialler.ts';
import { ExactReader, ShortReadError } from './exact-reader.ts';
import { socksReply } from './refusals.ts';
import { addressText, AddressKind, encodeAddress } from './socks-address.ts';
import { SocksDatagrams } from './socks-datagrams.ts';

/** A client that does not get through its greeting by then is left. */
const GREETING_MILLISECONDS = 30_000;

const Method = { userAndPassword: 2, none: 0xff } as const;
const Command = { connect: 1, associate: 3 } as const;
const Reply = { done: 0, failed: 1, commandUnsupported: 7, addressUnsupported: 8 } as const;

interface SocksRequest {
  readonly command: number;
  readonly host: string;
  readonly port: number;
}

/** What the client sent cannot be served; undefined: nobody is told. */
class SocksError extends Error {
  override readonly name = 'SocksError';
  readonly last: Buffer | undefined;

  constructor(message: string, last?: Buffer) {
    super(message);
    this.last = last;
  }
}

/** SOCKS5 (RFC 1928) with user and password (RFC 1929): CONNECT and UDP ASSOCIATE, by names and addresses. */
export class SocksProxy {
  readonly #access: ProxyAccess;
  readonly #dialler: Dialler;
  readonly #onAssociation: AssociationHandler;

  constructor(access: ProxyAccess, dialler: Dialler, onAssociation: AssociationHandler) {
    this.#access = access;
    this.#dialler = dialler;
    this.#onAssociation = onAssociation;
  }

  /** Serves one connection, from its first byte to its end. Its errors have a listener already. Never rejects. */
  async serve(socket: Socket): Promise<void> {
    const impatient = setTimeout(() => socket.destroy(), GREETING_MILLISECONDS);
    try {
      const request = await this.#greet(socket);
      clearTimeout(impatient);
      if (request.command === Command.connect) await this.#connect(socket, request);
      else await this.#associate(socket);
    } catch (error) {
      if (error instanceof SocksError) socket.resume().end(error.last ?? '');
      else if (error instanceof ShortReadError) socket.destroy();
      else throw error;
    } finally {
      clearTimeout(impatient);
    }
  }

  async #greet(socket: Socket): Promise<SocksRequest> {
    using reader = new ExactReader(socket);
    const version = await reader.byte();
    // SOCKS4 knows no password; 0x5b is its refusal.
    if (version === 4) throw new SocksError('SOCKS4', Buffer.from([0, 0x5b, 0, 0, 0, 0, 0, 0]));
    if (version !== 5) throw new SocksError('not SOCKS5');
    const count = await reader.byte();
    const methods = count === 0 ? Buffer.alloc(0) : await reader.bytes(count);
    if (!methods.includes(Method.userAndPassword)) throw new SocksError('no password', Buffer.from([5, Method.none]));
    socket.write(Buffer.from([5, Method.userAndPassword]));
    await reader.byte();
    const user = await text(reader);
    const password = await text(reader);
    if (!this.#access.allows(user, password)) throw new SocksError('wrong password', Buffer.from([1, 1]));
    socket.write(Buffer.from([1, 0]));
    const [, command = 0, , kind = 0] = await reader.bytes(4);
    const host = await hostOf(reader, kind);
    const port = (await reader.bytes(2)).readUInt16BE(0);
    if (command !== Command.connect && command !== Command.associate) throw refusal(Reply.commandUnsupported);
    if (command === Command.connect && (host === '' || port === 0)) throw refusal(Reply.failed);
    return { command, host, port };
  }

  async #connect(socket: Socket, { host, port }: SocksRequest): Promise<void> {
    const gone = new AbortController();
    const onClose = (): void => gone.abort(new Error('the program has closed its connection'));
    socket.once('close', onClose);
    const source = { address: socket.remoteAddress ?? '127.0.0.1', port: socket.remotePort ?? 0 };
    let dialled: Dialled;
    try {
      dialled = await this.#dialler.dial({ host, port, use: 'bytes', source, signal: gone.signal });
    } catch (error) {
      throw refusal(socksReply(error instanceof Refusal ? error : new Refusal('failed', messageOf(error))));
    } finally {
      socket.off('close', onClose);
    }
    if (socket.destroyed) return drop(dialled);
    socket.write(reply(Reply.done, '0.0.0.0', 0));
    await carry(socket, dialled);
  }

  /** The association lasts as long as this connection, on which nothing more is said. */
  async #associate(socket: Socket): Promise<void> {
    await using datagrams = await SocksDatagrams.open({
      resolve: async (host) => (await this.#dialler.addressesOf(host))[0],
      onAssociation: this.#onAssociation,
    }).catch(() => {
      // No port or no descriptor is left: this association's failure, and not kpctl's end.
      throw refusal(Reply.failed);
    });
    if (socket.destroyed) return;
    socket.write(reply(Reply.done, '127.0.0.1', datagrams.port));
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.once('close', resolve).once('end', () => socket.end());
    socket.resume();
    await promise;
  }
}

function reply(code: number, address: string, port: number): Buffer {
  return Buffer.concat([Buffer.from([5, code, 0]), encodeAddress(address, port)]);
}

function refusal(code: number): SocksError {
  return new SocksError(`SOCKS reply ${code}`, reply(code, '0.0.0.0', 0));
}

async function text(reader: ExactReader): Promise<string> {
  const length = await reader.byte();
  return length === 0 ? '' : (await reader.bytes(length)).toString();
}

async function hostOf(reader: ExactReader, kind: number): Promise<string> {
  if (kind === AddressKind.four) return addressText(await reader.bytes(4));
  if (kind === AddressKind.six) return addressText(await reader.bytes(16));
  if (kind === AddressKind.name) return await text(reader);
  throw refusal(Reply.addressUnsupported);
}
