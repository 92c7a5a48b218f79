import test from 'ava';
import { addressBytes } from '../../../../src/simulator/datagrams/addresses.ts';
import { FrameKind } from '../../../../src/simulator/datagrams/frames.ts';
import { fragmentsOf, largestPacket, writeDatagramPacket, writeUnreachablePacket } from '../../../../src/simulator/datagrams/packets.ts';

const four = { source: addressBytes('198.18.0.2'), sourcePort: 40_000, destination: addressBytes('10.96.0.9'), destinationPort: 4433 };
const six = { source: addressBytes('fd00:198:18::2'), sourcePort: 40_000, destination: addressBytes('fd12::9'), destinationPort: 4433 };

/** What RFC 1071 says of a packet that is right: all its 16-bit words, the checksum with them, add up to 0xffff. */
function addsUp(...parts: Uint8Array[]): boolean {
  const bytes = Buffer.concat(parts);
  let total = 0;
  for (const [index, byte] of bytes.entries()) total += index % 2 === 0 ? byte * 256 : byte;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total === 0xffff;
}

function pseudoHeader(packet: Buffer, protocol: number): Buffer {
  const rest = Buffer.alloc(8);
  rest.writeUInt32BE(packet.length - 40, 0);
  rest.writeUInt32BE(protocol, 4);
  return Buffer.concat([packet.subarray(8, 40), rest]);
}

function datagram(association: typeof four, payload: Buffer): Buffer {
  const packet = Buffer.alloc(largestPacket, 0xee);
  return packet.subarray(0, writeDatagramPacket(packet, association, payload));
}

function unreachable(association: typeof four, kind: typeof FrameKind.portUnreachable | typeof FrameKind.hostUnreachable): Buffer {
  const packet = Buffer.alloc(largestPacket, 0xee);
  return packet.subarray(0, writeUnreachablePacket(packet, association, kind));
}

test('an IPv4 answer goes from the destination to COMMAND, without a UDP checksum', (t) => {
  const packet = datagram(four, Buffer.from('hello'));
  t.is(packet.length, 33);
  t.is(packet.readUInt16BE(2), 33);
  t.is(packet[9], 17);
  t.deepEqual([...packet.subarray(12, 20)], [10, 96, 0, 9, 198, 18, 0, 2]);
  t.deepEqual([packet.readUInt16BE(20), packet.readUInt16BE(22), packet.readUInt16BE(24), packet.readUInt16BE(26)], [4433, 40_000, 13, 0]);
  t.is(packet.toString('latin1', 28), 'hello');
  t.true(addsUp(packet.subarray(0, 20)));
});

test('an IPv6 answer has the checksum that IPv6 asks for, whatever its length', (t) => {
  for (const size of [0, 1, 2, 3, 4, 5, 1199, 1200, 65_507, 65_527]) {
    const packet = datagram(six, Buffer.alloc(size, 0xab));
    t.is(packet.length, 48 + size);
    t.is(packet.readUInt16BE(4), 8 + size);
    t.true(addsUp(pseudoHeader(packet, 17), packet.subarray(40)), `${size} bytes`);
  }
});

test('a checksum that comes to zero is sent as its other form', (t) => {
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(datagram(six, Buffer.alloc(2)).readUInt16BE(46));
  t.is(datagram(six, payload).readUInt16BE(46), 0xffff);
});

test('an ICMP error comes from the destination and quotes the headers of what COMMAND sent', (t) => {
  const port = unreachable(four, FrameKind.portUnreachable);
  t.deepEqual([port[9], port[20], port[21]], [1, 3, 3]);
  t.deepEqual([...port.subarray(12, 20)], [10, 96, 0, 9, 198, 18, 0, 2]);
  t.deepEqual([...port.subarray(28 + 12, 28 + 20)], [198, 18, 0, 2, 10, 96, 0, 9]);
  t.deepEqual([port.readUInt16BE(48), port.readUInt16BE(50)], [40_000, 4433]);
  t.true(addsUp(port.subarray(20)));
  t.is(unreachable(four, FrameKind.hostUnreachable)[21], 1);
});

test('an ICMPv6 error does so, too', (t) => {
  const port = unreachable(six, FrameKind.portUnreachable);
  t.deepEqual([port[6], port[40], port[41]], [58, 1, 4]);
  t.deepEqual(port.subarray(8, 40), Buffer.concat([six.destination, six.source]));
  t.deepEqual(port.subarray(48 + 8, 48 + 40), Buffer.concat([six.source, six.destination]));
  t.true(addsUp(pseudoHeader(port, 58), port.subarray(40)));
  t.is(unreachable(six, FrameKind.hostUnreachable)[41], 3);
});

for (const family of [4, 6] as const) {
  test(`a packet of IPv${family} that no network carries whole is cut in pieces that, put together, are the packet`, (t) => {
    const [source, destination] = family === 4 ? ['172.30.0.2', '10.96.3.4'] : ['fd30::2', 'fd12::4'];
    const association = {
      source: addressBytes(source ?? ''),
      sourcePort: 1,
      destination: addressBytes(destination ?? ''),
      destinationPort: 2,
    };
    const packet = Buffer.alloc(largestPacket);
    const length = writeDatagramPacket(packet, association, Buffer.alloc(5000, 'x'));
    const pieces = [...fragmentsOf(packet, length, 77)];
    const [head, own] = family === 4 ? [20, 0] : [40, 8];
    t.true(pieces.length > 3 && pieces.every((piece) => piece.length <= 1280));
    t.deepEqual(Buffer.concat(pieces.map((piece) => piece.subarray(head + own))), packet.subarray(head, length));
    let offset = 0;
    for (const [index, piece] of pieces.entries()) {
      const word = family === 4 ? piece.readUInt16BE(6) : piece.readUInt16BE(42);
      t.is(family === 4 ? (word & 0x1fff) * 8 : word & ~7, offset);
      t.is((family === 4 ? word & 0x2000 : word & 1) !== 0, index < pieces.length - 1);
      t.is(family === 4 ? piece.readUInt16BE(2) : piece.readUInt16BE(4) + 40, piece.length);
      if (family === 6) t.is(piece.readUInt8(40), 17);
      offset += piece.length - head - own;
    }
  });
}
