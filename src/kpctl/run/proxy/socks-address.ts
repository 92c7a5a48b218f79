import { isIPv4, isIPv6 } from 'node:net';
import { canonicalAddress } from '../../../simulator/dns/records.ts';

/** Kinds of addresses (RFC 1928, section 5). */
export const AddressKind = { four: 1, name: 3, six: 4 } as const;

/** An address as SOCKS5 writes it, with its port. */
export function encodeAddress(address: string, port: number): Buffer {
  const end = Buffer.alloc(2);
  end.writeUInt16BE(port);
  if (isIPv4(address)) return Buffer.concat([Buffer.from([AddressKind.four, ...address.split('.').map(Number)]), end]);
  return Buffer.concat([Buffer.from([AddressKind.six]), sixBytes(address), end]);
}

/** The text of 4 or 16 bytes. */
export function addressText(bytes: Buffer): string {
  if (bytes.length === 4) return [...bytes].join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return canonicalAddress(groups.join(':'));
}

function sixBytes(address: string): Buffer {
  const bytes = Buffer.alloc(16);
  if (!isIPv6(address)) return bytes;
  // An IPv4 address at its end takes the place of two groups.
  const groups = canonicalAddress(address).replace(/[\d.]+\.[\d.]+$/, (four) => {
    const [a = 0, b = 0, c = 0, d = 0] = four.split('.').map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [head = '', tail] = groups.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  for (const [index, group] of front.entries()) bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  for (const [index, group] of back.entries()) bytes.writeUInt16BE(Number.parseInt(group, 16), (8 - back.length + index) * 2);
  return bytes;
}
