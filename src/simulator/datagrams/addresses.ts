import { SocketAddress } from 'node:net';

/** The firewall mark of the packets that we make ourselves: they are never captured. */
export const packetMark = 0x6b70;

/** The bytes of an address, 4 or 16; of IPv6 without a dotted end. */
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
