import { isIPv4, type Socket } from 'node:net';
import { descriptorOf, getSocketOption, IPPROTO_IP, IPPROTO_IPV6, SO_ORIGINAL_DST } from '../platform/libc.ts';
import type { Endpoint } from '../tunnel/types.ts';

const MAPPED_PREFIX = '::ffff:';
/** sizeof(struct sockaddr_in) and sockaddr_in6 (ip(7), ipv6(7)). */
const IPV4_BYTES = 16;
const IPV6_BYTES = 28;

/**
 * Where the client of a redirected connection wanted to go: SO_ORIGINAL_DST, which conntrack answers (Linux,
 * net/netfilter/nf_conntrack_proto.c, getorigdst). Undefined when conntrack does not know the connection or the socket is
 * closed already. For a connection that nothing redirected it is the socket's own local address.
 */
export function originalDestination(socket: Socket): Endpoint | undefined {
  const fd = descriptorOf(socket);
  const local = socket.localAddress;
  if (fd === undefined || local === undefined) return undefined;
  try {
    // A dual-stack listener's IPv4 connections (::ffff:1.2.3.4) are IPv4 to conntrack.
    if (isIPv4(unmapped(local))) return parseIPv4(getSocketOption(fd, IPPROTO_IP, SO_ORIGINAL_DST, IPV4_BYTES));
    return parseIPv6(getSocketOption(fd, IPPROTO_IPV6, SO_ORIGINAL_DST, IPV6_BYTES));
  } catch {
    return undefined;
  }
}

/** IPv4-mapped IPv6 addresses as IPv4; any other as it is. */
export function unmapped(address: string): string {
  return address.startsWith(MAPPED_PREFIX) && address.includes('.') ? address.slice(MAPPED_PREFIX.length) : address;
}

/** struct sockaddr_in: family, port and address in network order. */
export function parseIPv4(bytes: Buffer): Endpoint {
  return {
    address: `${bytes.readUInt8(4)}.${bytes.readUInt8(5)}.${bytes.readUInt8(6)}.${bytes.readUInt8(7)}`,
    port: bytes.readUInt16BE(2),
  };
}

/** struct sockaddr_in6: family, port, flow information, address; written as RFC 5952 says, as Node writes addresses. */
export function parseIPv6(bytes: Buffer): Endpoint {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(8 + index * 2).toString(16));
  // URL's host serializer compresses as RFC 5952 does.
  const address = new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
  return { address, port: bytes.readUInt16BE(2) };
}
