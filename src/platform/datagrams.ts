import {
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_TRANSPARENT,
  IP_TRANSPARENT,
  SO_MARK,
  SOL_SOCKET,
  SystemCallError,
  setSocketOption,
  loadKoffi,
} from './libc.ts';

/**
 * Datagrams by system calls that Node does not have: receiving with the original destination, and packets with a source
 * address that is not ours. Through koffi, looked up on the first call. Constants and structures are Linux's on 64-bit machines, the same on
 * x86-64 and arm64 (asm-generic/fcntl.h, linux/socket.h, in.h, in6.h).
 */
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_RAW = 255;
const SO_RCVBUF = 8;
const IP_RECVORIGDSTADDR = 20;
const IPV6_RECVORIGDSTADDR = 74;
const IPV6_V6ONLY = 26;
const MSG_DONTWAIT = 0x40;
const F_GETFL = 3;
const F_SETFL = 4;
const F_SETOWN = 8;
const F_SETSIG = 10;
const O_ASYNC = 0o20000;

/** IP version: 4 or 6. */
export type Family = 4 | 6;

interface Calls {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Buffer, length: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  recvmmsg(fd: number, messages: Buffer, count: number, flags: number, timeout: null): number;
  sendto(fd: number, packet: Buffer, length: number, flags: number, address: Buffer, addressLength: number): number;
}

let loaded: Calls | undefined;

function calls(): Calls {
  if (loaded !== undefined) return loaded;
  const library = loadKoffi().load(null);
  const socket = library.func('int socket(int domain, int type, int protocol)');
  const bind = library.func('int bind(int fd, const uint8_t *address, uint32_t length)');
  const fcntl = library.func('int fcntl(int fd, int command, long argument)');
  const recvmmsg = library.func('int recvmmsg(int fd, uint8_t *messages, unsigned int count, int flags, void *timeout)');
  const sendto = library.func(
    'long sendto(int fd, const uint8_t *packet, size_t length, int flags, const uint8_t *address, uint32_t addressLength)',
  );
  loaded = { socket, bind, fcntl, recvmmsg, sendto };
  return loaded;
}

function check(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, loadKoffi().errno());
  return result;
}

/** An IP address as the bytes of a packet: 4 or 16. */
export type AddressBytes = Uint8Array;

/** struct sockaddr_in or sockaddr_in6 (ip(7), ipv6(7)). */
function socketAddress(address: AddressBytes, port: number): Buffer {
  const bytes = Buffer.alloc(address.length === 4 ? 16 : 28);
  bytes.writeUInt16LE(address.length === 4 ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(address, address.length === 4 ? 4 : 8);
  return bytes;
}

/**
 * Opens a UDP socket to which TPROXY can give datagrams for any address (ip(7): IP_TRANSPARENT, IP_RECVORIGDSTADDR), bound to `address`.
 * `receiveBuffer`: bytes asked of the kernel, which gives as many as net.core.rmem_max allows. Needs CAP_NET_RAW or CAP_NET_ADMIN.
 */
export function openTransparentDatagrams(address: AddressBytes, port: number, receiveBuffer: number): number {
  const four = address.length === 4;
  const fd = check('socket', calls().socket(four ? AF_INET : AF_INET6, SOCK_DGRAM + SOCK_NONBLOCK + SOCK_CLOEXEC, 0));
  if (!four) setSocketOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  setSocketOption(fd, four ? IPPROTO_IP : IPPROTO_IPV6, four ? IP_TRANSPARENT : IPV6_TRANSPARENT, 1);
  setSocketOption(fd, four ? IPPROTO_IP : IPPROTO_IPV6, four ? IP_RECVORIGDSTADDR : IPV6_RECVORIGDSTADDR, 1);
  setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, receiveBuffer);
  const sockaddr = socketAddress(address, port);
  check('bind', calls().bind(fd, sockaddr, sockaddr.length));
  return fd;
}

/**
 * From now on the kernel sends this process the signal `number` whenever something arrives at the socket (fcntl(2), "Managing signals"). Take one
 * that is ignored by default, as SIGURG: it may come at any time.
 */
export function signalArrivals(fd: number, number: number): void {
  check('fcntl F_SETOWN', calls().fcntl(fd, F_SETOWN, process.pid));
  check('fcntl F_SETSIG', calls().fcntl(fd, F_SETSIG, number));
  check('fcntl F_SETFL', calls().fcntl(fd, F_SETFL, calls().fcntl(fd, F_GETFL, 0) | O_ASYNC));
}

/** A datagram in the receiver's own memory: to be copied before the next is received. */
export interface ReceivedDatagram {
  readonly source: AddressBytes;
  readonly sourcePort: number;
  readonly destination: AddressBytes;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

/** sizeof(struct mmsghdr), of its control messages' room, and of the largest datagram. */
const headerSize = 64;
const controlSize = 64;
const slotSize = 65_536;

/** Receives from a socket of {@link openTransparentDatagrams}, several datagrams with one system call (recvmmsg(2)). */
export class DatagramReceiver {
  readonly #fd: number;
  readonly #count: number;
  readonly #headers: Buffer;
  readonly #names: Buffer;
  readonly #controls: Buffer;
  readonly #vectors: Buffer;
  readonly #payloads: Buffer;
  readonly #nameSize: number;

  /** `count`: the most that one call receives; each takes 64 KiB of memory. */
  constructor(fd: number, family: Family, count = 16) {
    this.#fd = fd;
    this.#count = count;
    this.#nameSize = family === 4 ? 16 : 28;
    // Not from Node's pool: the kernel is given these addresses again and again.
    this.#headers = Buffer.alloc(count * headerSize);
    this.#names = Buffer.alloc(count * 32);
    this.#controls = Buffer.alloc(count * controlSize);
    this.#vectors = Buffer.alloc(count * 16);
    this.#payloads = Buffer.allocUnsafeSlow(count * slotSize);
    const { address } = loadKoffi();
    const [names, controls, vectors, payloads] = [this.#names, this.#controls, this.#vectors, this.#payloads].map((b) => address(b));
    if (names === undefined || controls === undefined || vectors === undefined || payloads === undefined) return;
    for (let index = 0; index < count; index += 1) {
      const at = BigInt(index);
      // struct iovec: base, length
      this.#vectors.writeBigUInt64LE(payloads + at * BigInt(slotSize), index * 16);
      this.#vectors.writeBigUInt64LE(BigInt(slotSize), index * 16 + 8);
      // struct msghdr: name, namelen, iov, iovlen, control, controllen, flags
      const header = index * headerSize;
      this.#headers.writeBigUInt64LE(names + at * 32n, header);
      this.#headers.writeBigUInt64LE(vectors + at * 16n, header + 16);
      this.#headers.writeBigUInt64LE(1n, header + 24);
      this.#headers.writeBigUInt64LE(controls + at * BigInt(controlSize), header + 32);
    }
  }

  /**
   * What is queued, at most `count`; none when nothing is. An error of the socket counts as nothing: it belongs to no datagram. One whose original
   * destination the kernel did not tell is left out.
   */
  receive(): ReceivedDatagram[] {
    for (let header = 0; header < this.#headers.length; header += headerSize) {
      this.#headers.writeUInt32LE(this.#nameSize, header + 8);
      this.#headers.writeUInt32LE(controlSize, header + 40);
    }
    const received = calls().recvmmsg(this.#fd, this.#headers, this.#count, MSG_DONTWAIT, null);
    const datagrams: ReceivedDatagram[] = [];
    for (let index = 0; index < received; index += 1) {
      const datagram = this.#datagram(index);
      if (datagram !== undefined) datagrams.push(datagram);
    }
    return datagrams;
  }

  #datagram(index: number): ReceivedDatagram | undefined {
    const length = this.#headers.readUInt32LE(index * headerSize + 56);
    const controlLength = this.#headers.readUInt32LE(index * headerSize + 40);
    // struct cmsghdr: length (8 bytes), level, type; then the original destination as a socket address. It is the only one asked for.
    const control = index * controlSize;
    if (controlLength < 16 + this.#nameSize) return undefined;
    const name = index * 32;
    const four = this.#nameSize === 16;
    const [offset, size] = four ? [4, 4] : [8, 16];
    return {
      source: this.#names.subarray(name + offset, name + offset + size),
      sourcePort: this.#names.readUInt16BE(name + 2),
      destination: this.#controls.subarray(control + 16 + offset, control + 16 + offset + size),
      destinationPort: this.#controls.readUInt16BE(control + 18),
      payload: this.#payloads.subarray(index * slotSize, index * slotSize + length),
    };
  }
}

/** Opens a socket that sends whole IP packets (raw(7), IPPROTO_RAW), with a firewall mark on each. It receives nothing. Needs CAP_NET_RAW and CAP_NET_ADMIN. */
export function openPackets(family: Family, mark: number): number {
  const fd = check('socket', calls().socket(family === 4 ? AF_INET : AF_INET6, SOCK_RAW + SOCK_NONBLOCK + SOCK_CLOEXEC, IPPROTO_RAW));
  setSocketOption(fd, SOL_SOCKET, SO_MARK, mark);
  return fd;
}

/** Sends `length` bytes of `packet`, an IP packet with its header, to `destination`. False: the kernel did not take it, so it is lost. */
export function sendPacket(fd: number, packet: Buffer, length: number, destination: AddressBytes): boolean {
  const address = socketAddress(destination, 0);
  return calls().sendto(fd, packet, length, MSG_DONTWAIT, address, address.length) >= 0;
}
