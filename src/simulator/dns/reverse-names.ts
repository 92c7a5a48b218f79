import { isIPv4 } from 'node:net';
import { addressOctets } from './message-walk.ts';
import { canonicalAddress } from './records.ts';

/** The address of a full in-addr.arpa or ip6.arpa name (RFC 1035 section 3.5, RFC 3596 section 2.5). */
export function reversedAddress(name: string): string | undefined {
  if (name.endsWith('.in-addr.arpa')) {
    const address = name.slice(0, -'.in-addr.arpa'.length).split('.').toReversed().join('.');
    return isIPv4(address) ? address : undefined;
  }
  if (!name.endsWith('.ip6.arpa')) return undefined;
  const nibbles = name.slice(0, -'.ip6.arpa'.length).split('.');
  if (nibbles.length !== 32 || !nibbles.every((nibble) => /^[0-9a-f]$/.test(nibble))) return undefined;
  const digits = nibbles.toReversed().join('');
  return canonicalAddress(digits.replaceAll(/.{4}(?=.)/g, '$&:'));
}

/** The name below in-addr.arpa or ip6.arpa of an address in canonical form. */
export function reverseName(address: string): string {
  if (isIPv4(address)) return `${address.split('.').toReversed().join('.')}.in-addr.arpa`;
  return `${addressOctets(address).toString('hex').split('').toReversed().join('.')}.ip6.arpa`;
}
