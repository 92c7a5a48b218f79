import { AF_NETLINK, SOCK_NONBLOCK, SOCK_RAW, closeDescriptor, openSocket, receiveBytes, sendBytes, setSocketOption } from './libc.ts';
import { systemCode } from './errors.ts';
import type { Logger } from './log.ts';
import type { Closeable } from './owned.ts';
import { cidrOf, formatAddress, formatCidr, type Cidr } from './cidr.ts';

/**
 * This machine's routes (of this network namespace), asked of the kernel itself (rtnetlink(7)); no right is needed. Of all tables: a VPN with policy
 * routing keeps its routes in one of its own (wg-quick 51820, tailscale 52).
 */
export interface Route {
  readonly destination: Cidr;
  /** `local`: an address of this machine. `refused`: blackhole, unreachable, prohibit. */
  readonly kind: 'unicast' | 'local' | 'refused';
  readonly table: number;
  /** `eth0`; undefined for a route that leads nowhere. */
  readonly device: string | undefined;
  /** What the device is, where the kernel has a name for it: `wireguard`, `tun`, `bridge`, `veth`. */
  readonly deviceKind: string | undefined;
  readonly gateway: string | undefined;
}

/** As `ip route` has it: `10.8.0.0/16 via 10.8.0.1 dev tun0 table 52`. */
export function formatRoute({ destination, kind, gateway, device, table }: Route): string {
  const via = gateway === undefined ? '' : ` via ${gateway}`;
  const dev = device === undefined ? '' : ` dev ${device}`;
  const inTable = table === MAIN || table === LOCAL ? '' : ` table ${table}`;
  return `${kind === 'unicast' ? '' : `${kind} `}${formatCidr(destination)}${via}${dev}${inTable}`;
}

/** The routes now, without those for broadcast and multicast. Throws SystemCallError. */
export function readRoutes(): Route[] {
  const fd = openSocket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  try {
    const devices = readDevices(fd);
    const routes: Route[] = [];
    for (const message of dump(fd, RTM_GETROUTE)) {
      const route = asRoute(message, devices);
      if (route !== undefined) routes.push(route);
    }
    return routes;
  } finally {
    closeDescriptor(fd);
  }
}

export interface RouteWatch extends Closeable {
  /** As they were read last. */
  readonly routes: readonly Route[];
  /** Called after `routes` changed; returns the function that unsubscribes. */
  onChange(listener: () => void): () => void;
}

export interface RouteWatchOptions {
  readonly log: Logger;
  /** How often the kernel's news are looked for; a VPN that comes up has changed its routes for less than that. */
  readonly pollMilliseconds?: number;
}

/**
 * Reads the routes again whenever the kernel has told of a change of a route, rule, address or link. Its news are looked for twice a second, which
 * is one system call while there are none. The timer does not hold the process.
 */
export function watchRoutes({ log, pollMilliseconds = 500 }: RouteWatchOptions): RouteWatch {
  const listeners = new Set<() => void>();
  const fd = openSocket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE);
  let routes: readonly Route[];
  try {
    for (const group of CHANGE_GROUPS) setSocketOption(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
    // A socket that has sent nothing has no port, and is passed over when news are told.
    sendBytes(fd, dumpRequest(RTM_GETRULE));
    routes = readRoutes();
  } catch (error) {
    closeDescriptor(fd);
    throw error;
  }
  const buffer = Buffer.alloc(BUFFER_BYTES);
  const look = (): void => {
    if (!hasNews(fd, buffer)) return;
    try {
      const now = readRoutes();
      const changed = now.length !== routes.length || now.some((route, index) => !same(route, routes[index]));
      routes = now;
      if (!changed) return;
    } catch (error) {
      log.warn({ err: error }, 'the routes could not be read');
      return;
    }
    for (const listener of listeners) listener();
  };
  hasNews(fd, buffer); // the answer to our own question
  const timer = setInterval(look, pollMilliseconds).unref();
  let closed = false;
  const close = (): Promise<void> => {
    if (!closed) closeDescriptor(fd);
    closed = true;
    clearInterval(timer);
    listeners.clear();
    return Promise.resolve();
  };
  return {
    get routes() {
      return routes;
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

// include/uapi/linux/netlink.h, rtnetlink.h, if_link.h
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
/** RTNLGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE. */
const CHANGE_GROUPS = [1, 5, 7, 8, 9, 11, 19];
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWROUTE = 24;
const RTM_GETROUTE = 26;
const RTM_GETRULE = 34;
/** NLM_F_REQUEST with NLM_F_ROOT and NLM_F_MATCH. */
const DUMP = 0x301;
const HEADER_BYTES = 16;
const BUFFER_BYTES = 64 * 1024;
const MAIN = 254;
const LOCAL = 255;
const AF_INET = 2;
const AF_INET6 = 10;
const RTM_F_CLONED = 0x200;
/** Route types: RTN_UNICAST 1, LOCAL 2, BLACKHOLE 6, UNREACHABLE 7, PROHIBIT 8. */
const KINDS: ReadonlyMap<number, Route['kind']> = new Map([
  [1, 'unicast'],
  [2, 'local'],
  [6, 'refused'],
  [7, 'refused'],
  [8, 'refused'],
]);
const RTA = { destination: 1, device: 4, gateway: 5, multipath: 9, table: 15, via: 18 } as const;
const IFLA = { name: 3, info: 18, infoKind: 1 } as const;

/** A message of the kernel: its type, and what is behind its header. */
interface Message {
  readonly type: number;
  readonly body: Buffer;
}

function dumpRequest(type: number): Buffer {
  // Behind the header: struct ifinfomsg or rtmsg, all zero: any family.
  const request = Buffer.alloc(HEADER_BYTES + 16);
  request.writeUInt32LE(request.length, 0);
  request.writeUInt16LE(type, 4);
  request.writeUInt16LE(DUMP, 6);
  return request;
}

/** Messages are copies: the next read does not change them. */
function* dump(fd: number, request: number): Generator<Message> {
  sendBytes(fd, dumpRequest(request));
  const buffer = Buffer.alloc(BUFFER_BYTES);
  for (;;) {
    const length = receiveBytes(fd, buffer);
    for (let at = 0; at + HEADER_BYTES <= length;) {
      const size = buffer.readUInt32LE(at);
      const type = buffer.readUInt16LE(at + 4);
      if (type === NLMSG_DONE || size < HEADER_BYTES) return;
      if (type === NLMSG_ERROR) throw new Error(`rtnetlink: errno ${-buffer.readInt32LE(at + HEADER_BYTES)}`);
      yield { type, body: Buffer.from(buffer.subarray(at + HEADER_BYTES, at + size)) };
      at += (size + 3) & ~3;
    }
  }
}

/** Attributes by their type (rtnetlink(7), "struct rtattr"); of several of one type the last. */
function attributes(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length;) {
    const size = bytes.readUInt16LE(at);
    if (size < 4) break;
    // The two upper bits are flags: nested, byte order.
    found.set(bytes.readUInt16LE(at + 2) & 0x3fff, bytes.subarray(at + 4, at + size));
    at += (size + 3) & ~3;
  }
  return found;
}

interface Device {
  readonly name: string;
  readonly kind: string | undefined;
}

function readDevices(fd: number): Map<number, Device> {
  const devices = new Map<number, Device>();
  for (const { type, body } of dump(fd, RTM_GETLINK)) {
    if (type !== RTM_NEWLINK || body.length < 16) continue;
    // struct ifinfomsg: 16 bytes, the index at 4
    const found = attributes(body.subarray(16));
    const info = found.get(IFLA.info);
    const kind = info === undefined ? undefined : attributes(info).get(IFLA.infoKind);
    devices.set(body.readInt32LE(4), { name: text(found.get(IFLA.name)), kind: kind === undefined ? undefined : text(kind) });
  }
  return devices;
}

function asRoute({ type, body }: Message, devices: ReadonlyMap<number, Device>): Route | undefined {
  if (type !== RTM_NEWROUTE || body.length < 12) return undefined;
  // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
  const family = body.readUInt8(0) === AF_INET ? 4 : body.readUInt8(0) === AF_INET6 ? 6 : undefined;
  const kind = KINDS.get(body.readUInt8(7));
  if (family === undefined || kind === undefined || (body.readUInt32LE(8) & RTM_F_CLONED) !== 0) return undefined;
  const found = attributes(body.subarray(12));
  const hop = firstHop(found.get(RTA.multipath));
  const index = found.get(RTA.device)?.readUInt32LE(0) ?? hop?.device;
  const device = index === undefined ? undefined : devices.get(index);
  return {
    destination: cidrOf(family, number(found.get(RTA.destination)), body.readUInt8(1)),
    kind,
    table: found.get(RTA.table)?.readUInt32LE(0) ?? body.readUInt8(4),
    device: device?.name,
    deviceKind: device?.kind,
    gateway: address(found.get(RTA.gateway) ?? hop?.gateway) ?? address(found.get(RTA.via)?.subarray(2)),
  };
}

/** The first of several next hops (struct rtnexthop: length, flags, hops, index; then attributes). */
function firstHop(bytes: Buffer | undefined): { readonly device: number; readonly gateway: Buffer | undefined } | undefined {
  if (bytes === undefined || bytes.length < 8) return undefined;
  return { device: bytes.readInt32LE(4), gateway: attributes(bytes.subarray(8, bytes.readUInt16LE(0))).get(RTA.gateway) };
}

function number(bytes: Buffer | undefined): bigint {
  return bytes === undefined || bytes.length === 0 ? 0n : BigInt(`0x${bytes.toString('hex')}`);
}

function address(bytes: Buffer | undefined): string | undefined {
  if (bytes === undefined || (bytes.length !== 4 && bytes.length !== 16)) return undefined;
  return formatAddress(bytes.length === 4 ? 4 : 6, number(bytes));
}

/** Ends with a zero byte. */
function text(bytes: Buffer | undefined): string {
  return bytes === undefined ? '' : bytes.toString('utf8').replace(/\0.*$/, '');
}

/** Takes what is queued. Whether there was anything; a queue that ran over has lost some. */
function hasNews(fd: number, buffer: Buffer): boolean {
  for (let news = false; ; news = true) {
    try {
      receiveBytes(fd, buffer);
    } catch (error) {
      if (systemCode(error) === 'ENOBUFS') continue;
      return news;
    }
  }
}

function same(one: Route, other: Route | undefined): boolean {
  return other !== undefined && one.table === other.table && formatRoute(one) === formatRoute(other);
}
