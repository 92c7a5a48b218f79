import type { Server, Socket } from 'node:net';
import { Socket as DatagramSocket } from 'node:dgram';
import koffi from 'koffi';
import { Failure } from './errors.ts';

/**
 * System calls that Node does not have, through koffi. libc is looked up on the first call, so that importing
 * this file works on every platform. Constants are Linux's, the same on x86-64 and arm64 (include/uapi/linux/in.h, in6.h, asm-generic/socket.h).
 */
export const SOL_SOCKET = 1;
export const SO_MARK = 36;
export const IPPROTO_IP = 0;
export const IPPROTO_IPV6 = 41;
export const IP_TRANSPARENT = 19;
export const IPV6_TRANSPARENT = 75;
/** include/uapi/linux/netfilter_ipv4.h; the same number for IP6T_SO_ORIGINAL_DST. */
export const SO_ORIGINAL_DST = 80;

interface Libc {
  getsockopt(fd: number, level: number, option: number, value: Buffer, length: Uint32Array): number;
  setsockopt(fd: number, level: number, option: number, value: Buffer, length: number): number;
  errno(): number;
}

let loaded: Libc | undefined;

function libc(): Libc {
  if (loaded !== undefined) return loaded;
  if (process.platform !== 'linux') throw new Failure('PLATFORM_UNSUPPORTED', `this needs Linux, and this is ${process.platform}`);
  const library = koffi.load(null);
  const getsockopt = library.func('int getsockopt(int fd, int level, int option, _Out_ uint8_t *value, _Inout_ uint32_t *length)');
  const setsockopt = library.func('int setsockopt(int fd, int level, int option, const uint8_t *value, uint32_t length)');
  loaded = { getsockopt, setsockopt, errno: () => koffi.errno() };
  return loaded;
}

/** Reads a socket option into a fresh buffer of at most `size` bytes (getsockopt(2)). Throws an Error with `errno`. */
export function getSocketOption(fd: number, level: number, option: number, size: number): Buffer {
  const value = Buffer.alloc(size);
  const length = new Uint32Array([size]);
  if (libc().getsockopt(fd, level, option, value, length) !== 0) throw new SystemCallError('getsockopt', libc().errno());
  return value.subarray(0, length[0] ?? 0);
}

/** Sets a socket option whose value is an int (setsockopt(2)). Throws an Error with `errno`. */
export function setSocketOption(fd: number, level: number, option: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  if (libc().setsockopt(fd, level, option, bytes, 4) !== 0) throw new SystemCallError('setsockopt', libc().errno());
}

/** A system call that failed, with its errno(3). */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';
  readonly call: string;
  readonly errno: number;
  constructor(call: string, errno: number) {
    super(`${call}: errno ${errno}`);
    this.call = call;
    this.errno = errno;
  }
}

/**
 * The file descriptor of a socket or server. `_handle.fd` is undocumented but long-lived (libuv's uv_fileno): this
 * is the one place that reads it. Undefined when the handle is closed.
 */
export function descriptorOf(owner: Socket | Server | DatagramSocket): number | undefined {
  const handle: unknown = owner instanceof DatagramSocket ? datagramHandle(owner) : Reflect.get(owner, '_handle');
  if (typeof handle !== 'object' || handle === null) return undefined;
  const fd: unknown = Reflect.get(handle, 'fd');
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
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
