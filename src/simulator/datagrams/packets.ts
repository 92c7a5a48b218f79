import { FrameKind, type AssociationAddresses } from './frames.ts';

/** What COMMAND may get as an answer: a datagram, or word that its own cannot be delivered. */
type Unreachable = typeof FrameKind.portUnreachable | typeof FrameKind.hostUnreachable;

const headerSize = { 4: 20, 6: 40 } as const;
const udpHeaderSize = 8;
const hopLimit = 64;
const Protocol = { icmp: 1, udp: 17, icmp6: 58 } as const;

/** Of a datagram, in bytes (RFC 768 in RFC 791 and RFC 8200). */
export const largestPayload = { 4: 65_507, 6: 65_527 } as const;

/** Room for the largest packet: an IPv6 header and the 65,535 bytes that it can count (RFC 8200); of those a datagram has 65,527. */
export const largestPacket = headerSize[6] + 65_535;

/**
 * Writes a UDP packet from where COMMAND has sent to, to COMMAND (RFC 768), and answers its length. In IPv4 without a checksum, which never leaves
 * this machine; the header's own is the kernel's to fill in (raw(7)).
 */
export function writeDatagramPacket(packet: Buffer, association: AssociationAddresses, payload: Uint8Array): number {
  const { source, sourcePort, destination, destinationPort } = association;
  const udp = writeIpHeader(packet, 0, {
    from: destination,
    to: source,
    protocol: Protocol.udp,
    length: udpHeaderSize + payload.length,
  });
  writeUdpHeader(packet, udp, destinationPort, sourcePort, payload.length);
  packet.set(payload, udp + udpHeaderSize);
  const end = udp + udpHeaderSize + payload.length;
  // Zero would mean none; its other form means the same sum (RFC 8200, section 8.1).
  if (source.length === 16) packet.writeUInt16BE(upperLayerChecksum(packet, Protocol.udp, udp, end) || 0xffff, udp + 6);
  return end;
}

/**
 * Writes the ICMP error for a datagram of COMMAND's (RFC 792: type 3; RFC 4443: type 1) as if it came from the destination, and answers its length.
 * Of the datagram it has only the headers: those are what the kernel finds COMMAND's socket by.
 */
export function writeUnreachablePacket(packet: Buffer, association: AssociationAddresses, kind: Unreachable): number {
  const { source, sourcePort, destination, destinationPort } = association;
  const four = source.length === 4;
  const inner = headerSize[four ? 4 : 6] + udpHeaderSize;
  const protocol = four ? Protocol.icmp : Protocol.icmp6;
  const icmp = writeIpHeader(packet, 0, { from: destination, to: source, protocol, length: 8 + inner });
  const codes = four ? { port: 3, host: 1 } : { port: 4, host: 3 };
  packet.fill(0, icmp, icmp + 8);
  packet.writeUInt8(four ? 3 : 1, icmp);
  packet.writeUInt8(kind === FrameKind.portUnreachable ? codes.port : codes.host, icmp + 1);
  const udp = writeIpHeader(packet, icmp + 8, { from: source, to: destination, protocol: Protocol.udp, length: udpHeaderSize });
  writeUdpHeader(packet, udp, sourcePort, destinationPort, 0);
  const end = udp + udpHeaderSize;
  const checksum = four ? fold(sum(packet, icmp, end)) : upperLayerChecksum(packet, Protocol.icmp6, icmp, end);
  packet.writeUInt16BE(checksum, icmp + 2);
  return end;
}

/** What every network carries in one piece (RFC 8200, section 5; an IPv4 one that carries less is none of today's). */
const smallestMtu = 1280;
const fragmentHeaderSize = 8;
const Fragment = { next: 44, more4: 0x2000, more6: 1 } as const;

/**
 * The first `length` bytes of `packet`, an IP packet, in pieces that every network carries (RFC 791; RFC 8200, section 4.5): a packet of one's own making
 * is not cut in pieces by the kernel. `id` has 16 bits; two packets between the same ends that are on their way at once must not have the same.
 */
export function* fragmentsOf(packet: Buffer, length: number, id: number): Generator<Buffer> {
  const four = packet.readUInt8(0) >> 4 === 4;
  const head = headerSize[four ? 4 : 6];
  const room = (smallestMtu - head - (four ? 0 : fragmentHeaderSize)) & ~7;
  for (let at = head; at < length; at += room) {
    const part = packet.subarray(at, Math.min(at + room, length));
    const more = at + room < length;
    const offset = at - head;
    if (four) {
      const fragment = Buffer.concat([packet.subarray(0, head), part]);
      fragment.writeUInt16BE(fragment.length, 2);
      fragment.writeUInt16BE(id, 4);
      fragment.writeUInt16BE((offset >> 3) | (more ? Fragment.more4 : 0), 6);
      fragment.writeUInt16BE(0, 10);
      fragment.writeUInt16BE(fold(sum(fragment, 0, head)), 10);
      yield fragment;
      continue;
    }
    const fragment = Buffer.concat([packet.subarray(0, head), Buffer.alloc(fragmentHeaderSize), part]);
    fragment.writeUInt16BE(fragment.length - head, 4);
    fragment.writeUInt8(packet.readUInt8(6), head);
    fragment.writeUInt8(Fragment.next, 6);
    fragment.writeUInt16BE(offset | (more ? Fragment.more6 : 0), head + 2);
    fragment.writeUInt32BE(id, head + 4);
    yield fragment;
  }
}

interface IpHeader {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly protocol: number;
  /** Of what follows. */
  readonly length: number;
}

/** Writes a header (RFC 791, RFC 8200) at `at` and answers where it ends. */
function writeIpHeader(packet: Buffer, at: number, { from, to, protocol, length }: IpHeader): number {
  if (from.length === 16) {
    packet.writeUInt32BE(0x60000000, at);
    packet.writeUInt16BE(length, at + 4);
    packet.writeUInt8(protocol, at + 6);
    packet.writeUInt8(hopLimit, at + 7);
    packet.set(from, at + 8);
    packet.set(to, at + 24);
    return at + headerSize[6];
  }
  packet.fill(0, at, at + headerSize[4]);
  packet.writeUInt8(0x45, at);
  packet.writeUInt16BE(headerSize[4] + length, at + 2);
  packet.writeUInt8(hopLimit, at + 8);
  packet.writeUInt8(protocol, at + 9);
  packet.set(from, at + 12);
  packet.set(to, at + 16);
  packet.writeUInt16BE(fold(sum(packet, at, at + headerSize[4])), at + 10);
  return at + headerSize[4];
}

function writeUdpHeader(packet: Buffer, at: number, sourcePort: number, destinationPort: number, length: number): void {
  packet.writeUInt16BE(sourcePort, at);
  packet.writeUInt16BE(destinationPort, at + 2);
  packet.writeUInt16BE(udpHeaderSize + length, at + 4);
  packet.writeUInt16BE(0, at + 6);
}

/** The checksum over `packet` from `start` to `end` with IPv6's pseudo-header (RFC 8200, section 8.1), whose addresses stand in the packet. */
function upperLayerChecksum(packet: Buffer, protocol: number, start: number, end: number): number {
  return fold(sum(packet, 8, headerSize[6]) + sum(packet, start, end) + (end - start) + protocol);
}

/** The sum of 16-bit words (RFC 1071), taken 32 bits at a time: it folds to the same, and 2^53 is out of reach for 64 KiB. */
function sum(packet: Buffer, start: number, end: number): number {
  let total = 0;
  let at = start;
  for (; at + 4 <= end; at += 4) total += packet.readUInt32BE(at);
  if (at + 2 <= end) {
    total += packet.readUInt16BE(at);
    at += 2;
  }
  return at < end ? total + packet.readUInt8(at) * 256 : total;
}

function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}
