import type { Socket as DatagramSocket } from 'node:dgram';
import { createRequire } from 'node:module';
import type { Server, Socket } from 'node:net';
import { constants } from 'node:os';
import type * as koffiModule from 'koffi';
import { Failure } from './errors.ts';

/**
 * System calls that Node does not have, through koffi. koffi is loaded and libc looked up on the first call, so that importing
 * this file works on every platform, and costs an idle sidecar no memory. Constants are Linux's, the same on x86-64 and arm64 (include/uapi/linux/in.h, in6.h, asm-generic/socket.h).
 */
export const SOL_SOCKET = 1;
export const SO_MARK = 36;
export const IPPROTO_IP = 0;
export const IPPROTO_IPV6 = 41;
export const IP_TRANSPARENT = 19;
export const IPV6_TRANSPARENT = 75;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const SOCK_STREAM = 1;
export const SOCK_RAW = 3;
/** asm-generic: not for mips, alpha and their like, on which Node 24 does not run. */
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const IPPROTO_TCP = 6;
export const TCP_INFO = 11;
/** include/uapi/linux/netfilter_ipv4.h; the same number for IP6T_SO_ORIGINAL_DST. */
export const SO_ORIGINAL_DST = 80;

interface Libc {
  getsockopt(fd: number, level: number, option: number, value: Buffer, length: Uint32Array): number;
  setsockopt(fd: number, level: number, option: number, value: Buffer, length: number): number;
  socket(family: number, type: number, protocol: number): number;
  close(fd: number): number;
  send(fd: number, bytes: Buffer, length: number, flags: number): number;
  recv(fd: number, bytes: Buffer, length: number, flags: number): number;
  errno(): number;
}

function isKoffi(value: unknown): value is typeof koffiModule {
  return typeof value === 'object' && value !== null && 'load' in value && 'errno' in value;
}

/** koffi, loaded on the first call: nothing of it is needed where no system call is made. Failure PLATFORM_UNSUPPORTED where this is not Linux. */
export function loadKoffi(): typeof koffiModule {
  // Kept: looking the module up makes system calls, and errno is read after this.
  if (loadedKoffi !== undefined) return loadedKoffi;
  if (process.platform !== 'linux') throw new Failure('PLATFORM_UNSUPPORTED', `this needs Linux, and this is ${process.platform}`);
  const koffi: unknown = createRequire(import.meta.url)('koffi');
  if (!isKoffi(koffi)) throw new Error('koffi is not what it was');
  loadedKoffi = koffi;
  return koffi;
}

let loadedKoffi: typeof koffiModule | undefined;

let loaded: Libc | undefined;

function libc(): Libc {
  if (loaded !== undefined) return loaded;
  const koffi = loadKoffi();
  const library = koffi.load(null);
  const getsockopt = library.func('int getsockopt(int fd, int level, int option, _Out_ uint8_t *value, _Inout_ uint32_t *length)');
  const setsockopt = library.func('int setsockopt(int fd, int level, int option, const uint8_t *value, uint32_t length)');
  loaded = {
    getsockopt,
    setsockopt,
    socket: library.func('int socket(int family, int type, int protocol)'),
    close: library.func('int close(int fd)'),
    send: library.func('long send(int fd, const uint8_t *bytes, size_t length, int flags)'),
    recv: library.func('long recv(int fd, _Out_ uint8_t *bytes, size_t length, int flags)'),
    errno: () => koffi.errno(),
  };
  return loaded;
}

/** Reads a socket option into a fresh buffer of at most `size` bytes (getsockopt(2)). Throws an Error with `errno`. */
export function getSocketOption(fd: number, level: number, option: number, size: number): Buffer {
  const value = Buffer.alloc(size);
  const length = new Uint32Array([size]);
  if (libc().getsockopt(fd, level, option, value, length) !== 0) throw new SystemCallError('getsockopt', libc().errno());
  return value.subarray(0, length[0] ?? 0);
}

/** Sets a socket option whose value is an int, or 32 bits as a mark is (setsockopt(2)). Throws an Error with `errno`. */
export function setSocketOption(fd: number, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value | 0);
  if (libc().setsockopt(fd, level, option, bytes, 4) !== 0) throw new SystemCallError('setsockopt', libc().errno());
}

/** A new socket's descriptor, the caller's to close; close-on-exec is set (socket(2)). Throws SystemCallError. */
export function openSocket(family: number, type: number, protocol = 0): number {
  const fd = libc().socket(family, type | SOCK_CLOEXEC, protocol);
  if (fd < 0) throw new SystemCallError('socket', libc().errno());
  return fd;
}

/** Closes a descriptor of `openSocket` that has no other owner. */
export function closeDescriptor(fd: number): void {
  libc().close(fd);
}

/** send(2). Throws SystemCallError. */
export function sendBytes(fd: number, bytes: Buffer): void {
  if (libc().send(fd, bytes, bytes.length, 0) < 0) throw new SystemCallError('send', libc().errno());
}

/** recv(2) into `buffer`; answers how many bytes came. Blocks unless the socket does not. Throws SystemCallError. */
export function receiveBytes(fd: number, buffer: Buffer): number {
  const length = libc().recv(fd, buffer, buffer.length, 0);
  if (length < 0) throw new SystemCallError('recv', libc().errno());
  return length;
}

/** A system call that failed, with its errno(3) and that one's name as `code`, as Node's system errors have it. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';
  readonly call: string;
  readonly errno: number;
  readonly code: string;
  constructor(call: string, errno: number) {
    const code = Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
    super(`${call}: ${code}`);
    this.call = call;
    this.errno = errno;
    this.code = code;
  }
}

/**
 * The file descriptor of a socket or server. `_handle.fd` is undocumented but long-lived (libuv's uv_fileno): this
 * is the one place that reads it. Undefined when the handle is closed.
 */
export function descriptorOf(owner: Socket | Server | DatagramSocket): number | undefined {
  const handle: unknown = isDatagramSocket(owner) ? datagramHandle(owner) : Reflect.get(owner, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const fd: unknown = Reflect.get(handle, 'fd');
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}

/** By what it has, and not by its class: node:dgram would be loaded for that. */
function isDatagramSocket(owner: Socket | Server | DatagramSocket): owner is DatagramSocket {
  return typeof Reflect.get(owner, 'remoteAddress') === 'function';
}

/** A dgram socket keeps its handle in a state under a symbol; its `_handle` is deprecated (DEP0112). */
function datagramHandle(owner: object): unknown {
  for (const symbol of Object.getOwnPropertySymbols(owner)) {
    if (symbol.description !== 'state symbol') continue;
    const state: unknown = Reflect.get(owner, symbol);
    if (typeof state === 'object' && state !== null) return Reflect.get(state, 'handle');
  }
  return undefined;
}
