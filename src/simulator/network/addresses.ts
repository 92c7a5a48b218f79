import { SocketAddress } from 'node:net';

/**
 * Addresses inside a private network, all on its `lo`. 198.18.0.0/15 is set aside for benchmarks (RFC 2544), so that
 * neither a cluster nor a home network uses it.
 */
export const privateNetworkAddresses = {
  /** Where COMMAND's connections come from. */
  own: '198.18.0.2',
  /** The resolver, port 53: the nameserver for COMMAND's resolv.conf. */
  dns: '198.18.0.53',
  /** The transparent listener's address; nothing connects to it by this address. */
  capture: '198.18.0.1',
  /** IPv6 counterparts (RFC 4193), present where IPv6 is captured. */
  own6: 'fd00:198:18::2',
  capture6: 'fd00:198:18::1',
  /** Where connections from the laptop into the network come from: a loopback address, and never captured. */
  entry: '127.0.0.6',
} as const;

/** The transparent listeners' port, TCP and UDP. Below 1024, so that no program that chooses a free port gets it. */
export const capturePort = 1;

/** The firewall mark of the packets that we make ourselves: they are never captured. */
export const packetMark = 0x6b70;

/** The bytes of one of the addresses above. */
export function addressBytes(address: string): Uint8Array {
  if (!address.includes(':')) return Uint8Array.from(address.split('.'), Number);
  const [front = '', back = ''] = address.split('::');
  const bytes = Buffer.alloc(16);
  const groups = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)));
  for (const [index, group] of groups(front).entries()) bytes.writeUInt16BE(group, index * 2);
  for (const [index, group] of groups(back).toReversed().entries()) bytes.writeUInt16BE(group, 14 - index * 2);
  return bytes;
}

/** An address in text as the kernel writes it. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((bytes[index * 2] ?? 0) * 256 + (bytes[index * 2 + 1] ?? 0)).toString(16));
  return new SocketAddress({ family: 'ipv6', address: groups.join(':') }).address;
}
