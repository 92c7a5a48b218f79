import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { loadKoffi } from '../../platform/libc.ts';

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2_000_000;
const CLONE_NEWNET = 0x4000_0000;
const SOL_SOCKET = 1;
const SO_SNDTIMEO = 21;

interface Calls {
  setns(fd: number, type: number): number;
  socket(domain: number, type: number, protocol: number): number;
  connect(fd: number, address: Buffer, length: number): number;
  setsockopt(fd: number, level: number, option: number, value: Buffer, length: number): number;
}

let loaded: Calls | undefined;

function calls(): Calls {
  if (loaded !== undefined) return loaded;
  const library = loadKoffi().load(null);
  const setns = library.func('int setns(int fd, int type)');
  const socket = library.func('int socket(int domain, int type, int protocol)');
  const connect = library.func('int connect(int fd, const uint8_t *address, uint32_t length)');
  const setsockopt = library.func('int setsockopt(int fd, int level, int option, const uint8_t *value, uint32_t length)');
  loaded = { setns, socket, connect, setsockopt };
  return loaded;
}

/**
 * A connection to `127.0.0.1:port` in the network of another process, nothing of it read yet. A socket belongs to the
 * network in which it was made, so this thread goes there (setns(2), which is per thread), makes it, and comes back.
 * Connecting blocks; on a loopback interface the kernel answers at once, even where the listener is slow to accept.
 * Throws an Error with a `code`: `ECONNREFUSED`; `EINPROGRESS` when nobody answered within a second.
 */
export function connectInNetworkOf(pid: number, port: number): Socket {
  const fd = socketInNetworkOf(pid);
  const patience = Buffer.alloc(16);
  patience.writeBigInt64LE(1n, 0);
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set([127, 0, 0, 1], 4);
  try {
    check('setsockopt', calls().setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, patience, patience.length));
    check('connect', calls().connect(fd, address, address.length));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  const socket = new Socket({ fd, allowHalfOpen: true });
  socket.setNoDelay(true);
  return socket;
}

function socketInNetworkOf(pid: number): number {
  const own = openSync('/proc/thread-self/ns/net', 'r');
  let other: number | undefined;
  try {
    other = openSync(`/proc/${pid}/ns/net`, 'r');
    check('setns', calls().setns(other, CLONE_NEWNET));
    try {
      return check('socket', calls().socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    } finally {
      check('setns', calls().setns(own, CLONE_NEWNET));
    }
  } finally {
    closeSync(own);
    if (other !== undefined) closeSync(other);
  }
}

function check(call: string, result: number): number {
  if (result >= 0) return result;
  const code = getSystemErrorName(-loadKoffi().errno());
  throw Object.assign(new Error(`${call}: ${code}`), { code });
}
