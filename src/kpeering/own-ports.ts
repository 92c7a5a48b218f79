import { BlockList, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { isReservedPort } from '../platform/ports.ts';
import type { Endpoint } from '../tunnel/types.ts';

/**
 * Whether `destination` (an IP address) is a port of kpeering (a reserved one, or one of `ownPorts`) at an address of this pod:
 * dialling it would lead back to us. Any spelling counts, IPv4-mapped addresses too.
 */
export function isOwnPort({ address, port }: Endpoint, ownPorts: readonly number[]): boolean {
  if (!isReservedPort(port) && !ownPorts.includes(port)) return false;
  const own = new BlockList();
  own.addSubnet('127.0.0.0', 8);
  // Linux connects to itself for the unspecified address.
  own.addAddress('0.0.0.0');
  own.addAddress('::1', 'ipv6');
  own.addAddress('::', 'ipv6');
  for (const entry of Object.values(networkInterfaces()).flat()) {
    if (entry !== undefined) own.addAddress(entry.address.split('%', 1)[0] ?? '', entry.family === 'IPv6' ? 'ipv6' : 'ipv4');
  }
  return own.check(address.split('%', 1)[0] ?? '', isIPv6(address) ? 'ipv6' : 'ipv4');
}
