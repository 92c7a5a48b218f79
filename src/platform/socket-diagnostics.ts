import { isIPv6 } from 'node:net';
import {
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  IPPROTO_TCP,
  SOCK_RAW,
  TCP_INFO,
  closeDescriptor,
  getSocketOption,
  openSocket,
  receiveBytes,
  sendBytes,
} from './libc.ts';

/**
 * The kernel's list of TCP sockets in this network namespace (sock_diag(7), tcp_diag; no capability is needed). The kernel
 * filters, so that a pod with tens of thousands of sockets costs no more than those that are asked for; /proc/net/tcp would print all.
 */
export interface TcpSocket {
  readonly family: 'ipv4' | 'ipv6';
  /** As bytes in hex: to compare, not to print. */
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** 0 for a handshake that has not ended. */
  readonly inode: number;
}

/** include/net/tcp_states.h, as bits. */
export const TcpStates = {
  established: 1 << 1,
  /** A SYN that was answered, and the answer's answer has not come. */
  synReceived: 1 << 3,
  finWait1: 1 << 4,
  finWait2: 1 << 5,
  closeWait: 1 << 8,
  lastAck: 1 << 9,
  closing: 1 << 11,
} as const;

const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const EOPNOTSUPP = 95;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
/** NLM_F_REQUEST; with NLM_F_ROOT and NLM_F_MATCH. */
const REQUEST = 1;
const ACKNOWLEDGE = 4;
const DUMP = 0x301;
/** TCP_LISTEN. */
const LISTEN = 10;
const ANY_STATE = 0xffff_ffff;
/** sizeof(struct nlmsghdr), inet_diag_req_v2, inet_diag_msg (include/uapi/linux/inet_diag.h). */
const HEADER_BYTES = 16;
const REQUEST_BYTES = 56;
const MESSAGE_BYTES = 72;
/** Where the inet_diag_sockid begins in a request: ports, addresses of 16 bytes each, interface, cookie. */
const ID = HEADER_BYTES + 8;
const ID_BYTES = 48;
const BUFFER_BYTES = 64 * 1024;
const ONE_ANSWER_BYTES = 1024;

/** The sockets in any of `states` (TcpStates, added) whose local port is `localPort` (0: any). Throws SystemCallError; the kernel may lack tcp_diag. */
export function tcpSockets(states: number, localPort = 0): TcpSocket[] {
  const fd = openSocket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
  try {
    return [...dump(fd, AF_INET, states, localPort), ...dump(fd, AF_INET6, states, localPort)];
  } finally {
    closeDescriptor(fd);
  }
}

/** One end of a connection. */
interface End {
  readonly address: string;
  readonly port: number;
}

/** Whether a TCP connection between these two exists here, in whichever state but a listener's. Throws SystemCallError. */
export function hasTcpConnection(local: End, remote: End): boolean {
  const family = isIPv6(local.address) ? AF_INET6 : AF_INET;
  const fd = openSocket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
  try {
    const request = newRequest(family, ANY_STATE, REQUEST);
    request.writeUInt16BE(local.port, ID);
    request.writeUInt16BE(remote.port, ID + 2);
    addressBytes(local.address).copy(request, ID + 4);
    addressBytes(remote.address).copy(request, ID + 20);
    // INET_DIAG_NOCOOKIE
    request.fill(0xff, ID + 40, ID + 48);
    sendBytes(fd, request);
    const answer = Buffer.alloc(ONE_ANSWER_BYTES);
    const length = receiveBytes(fd, answer);
    // NLMSG_ERROR: ENOENT. The kernel answers with the listener where there is no connection.
    return length > HEADER_BYTES + 1 && answer.readUInt16LE(4) === SOCK_DIAG_BY_FAMILY && answer.readUInt8(HEADER_BYTES + 1) !== LISTEN;
  } finally {
    closeDescriptor(fd);
  }
}

/**
 * Ends the open TCP connections whose local address is one of these: their programs and their peers learn it as a reset (SOCK_DESTROY, which needs
 * CAP_NET_ADMIN). Answers how many. Throws SystemCallError, or an Error where the kernel cannot (CONFIG_INET_DIAG_DESTROY).
 */
export function destroyTcpSockets(addresses: readonly string[]): number {
  const wanted = new Set(addresses.map((address) => addressBytes(address).toString('hex')));
  const fd = openSocket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
  try {
    const found: Buffer[] = [];
    for (const family of [AF_INET, AF_INET6]) {
      for (const message of messages(fd, family, TcpStates.established | TcpStates.closeWait, 0)) {
        if (wanted.has(message.toString('hex', 8, 8 + (family === AF_INET6 ? 16 : 4)))) found.push(Buffer.from(message));
      }
    }
    let destroyed = 0;
    for (const message of found) {
      const request = newRequest(message.readUInt8(0), ANY_STATE, REQUEST | ACKNOWLEDGE);
      request.writeUInt16LE(SOCK_DESTROY, 4);
      // The socket's id stands in both at the same distance, with its cookie.
      message.copy(request, ID, 4, 4 + ID_BYTES);
      sendBytes(fd, request);
      const answer = Buffer.alloc(ONE_ANSWER_BYTES);
      receiveBytes(fd, answer);
      const errno = -answer.readInt32LE(HEADER_BYTES);
      if (errno === EOPNOTSUPP) throw new Error('the kernel does not end connections');
      // Any other: it has ended meanwhile.
      if (errno === 0) destroyed += 1;
    }
    return destroyed;
  } finally {
    closeDescriptor(fd);
  }
}

/** Connections that wait to be accepted by this listener (tcpi_unacked of a listening socket; net/ipv4/tcp.c, tcp_get_info). */
export function acceptQueueLength(fd: number): number {
  return getSocketOption(fd, IPPROTO_TCP, TCP_INFO, 104).readUInt32LE(24);
}

function* dump(fd: number, family: number, states: number, localPort: number): Generator<TcpSocket> {
  for (const message of messages(fd, family, states, localPort)) yield read(message);
}

/** The inet_diag_msg of each, in memory that the next takes. */
function* messages(fd: number, family: number, states: number, localPort: number): Generator<Buffer> {
  const request = newRequest(family, states, DUMP);
  request.writeUInt16BE(localPort, ID);
  sendBytes(fd, request);
  const buffer = Buffer.alloc(BUFFER_BYTES);
  for (;;) {
    const length = receiveBytes(fd, buffer);
    for (let at = 0; at + HEADER_BYTES <= length;) {
      const size = buffer.readUInt32LE(at);
      const type = buffer.readUInt16LE(at + 4);
      if (type === NLMSG_DONE) return;
      if (type === NLMSG_ERROR) throw new Error(`sock_diag: errno ${-buffer.readInt32LE(at + HEADER_BYTES)}`);
      if (size >= HEADER_BYTES + MESSAGE_BYTES) yield buffer.subarray(at + HEADER_BYTES, at + size);
      if (size < HEADER_BYTES) return;
      at += (size + 3) & ~3;
    }
  }
}

function newRequest(family: number, states: number, flags: number): Buffer {
  const request = Buffer.alloc(HEADER_BYTES + REQUEST_BYTES);
  request.writeUInt32LE(request.length, 0);
  request.writeUInt16LE(SOCK_DIAG_BY_FAMILY, 4);
  request.writeUInt16LE(flags, 6);
  request.writeUInt8(family, HEADER_BYTES);
  request.writeUInt8(IPPROTO_TCP, HEADER_BYTES + 1);
  request.writeUInt32LE(states, HEADER_BYTES + 4);
  return request;
}

/** An IP address in network order: 4 or 16 bytes. */
function addressBytes(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split('.').map(Number));
  // URL's host serializer writes an IPv4 ending in hex, and compresses one run of zeros.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (text = ''): string[] => (text === '' ? [] : text.split(':'));
  const [first, last] = [groups(head), groups(tail)];
  const all = tail === undefined ? first : [...first, ...Array.from({ length: 8 - first.length - last.length }, () => '0'), ...last];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

function read(message: Buffer): TcpSocket {
  const family = message.readUInt8(0) === AF_INET6 ? 'ipv6' : 'ipv4';
  const addressBytes = family === 'ipv6' ? 16 : 4;
  return {
    family,
    localPort: message.readUInt16BE(4),
    remotePort: message.readUInt16BE(6),
    localAddress: message.toString('hex', 8, 8 + addressBytes),
    remoteAddress: message.toString('hex', 24, 24 + addressBytes),
    inode: message.readUInt32LE(68),
  };
}
