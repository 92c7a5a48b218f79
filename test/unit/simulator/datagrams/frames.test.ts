import test from 'ava';
import { addressBytes, addressText } from '../../../../src/simulator/datagrams/addresses.ts';
import {
  FrameKind,
  FrameReader,
  associationAddresses,
  frameHeader,
  frameHeaderSize,
  writeFrame,
  type DatagramFrame,
} from '../../../../src/simulator/datagrams/frames.ts';

const four = { source: addressBytes('198.18.0.2'), sourcePort: 40_000, destination: addressBytes('10.96.0.9'), destinationPort: 53 };
const six = { source: addressBytes('fd00:198:18::2'), sourcePort: 1, destination: addressBytes('fd12::9'), destinationPort: 65_535 };

function frame(addresses: typeof four, payload: Buffer): Buffer {
  const bytes = Buffer.alloc(frameHeaderSize + payload.length);
  writeFrame(bytes, 0, addresses, payload);
  return bytes;
}

/** What a reader makes of a stream that comes in pieces of `size` bytes. */
function readIn(size: number, stream: Buffer): DatagramFrame[] {
  const reader = new FrameReader();
  const frames: DatagramFrame[] = [];
  for (let at = 0; at < stream.length; at += size) frames.push(...reader.read(stream.subarray(at, at + size)));
  return frames;
}

test('frames come out as they went in, however the stream is cut', (t) => {
  const payloads = [Buffer.alloc(0), Buffer.from('one'), Buffer.alloc(300, 7), Buffer.alloc(0), Buffer.from('last')];
  const stream = Buffer.concat(payloads.map((payload, index) => frame(index % 2 === 0 ? four : six, payload)));
  for (const size of [1, 2, 41, 42, 43, 100, stream.length]) {
    const frames = readIn(size, stream);
    t.deepEqual(
      frames.map(({ payload }) => payload.toString('hex')),
      payloads.map((payload) => payload.toString('hex')),
      `in pieces of ${size}`,
    );
    t.true(frames.every(({ kind }) => kind === FrameKind.datagram));
    const [first, second] = frames.map(({ association }) => associationAddresses(association));
    t.like(first, { sourcePort: 40_000, destinationPort: 53 });
    t.deepEqual([addressText(first?.source ?? four.source), addressText(first?.destination ?? four.source)], ['198.18.0.2', '10.96.0.9']);
    t.deepEqual(
      [addressText(second?.source ?? four.source), addressText(second?.destination ?? four.source)],
      ['fd00:198:18::2', 'fd12::9'],
    );
  }
});

test('an answer has the association of the question', (t) => {
  const [question] = readIn(1000, frame(six, Buffer.from('question')));
  const association = question?.association ?? Buffer.alloc(0);
  const [answer, refusal] = readIn(
    7,
    Buffer.concat([
      frameHeader(FrameKind.datagram, association, 2),
      Buffer.from('ok'),
      frameHeader(FrameKind.portUnreachable, association, 0),
    ]),
  );
  t.deepEqual(answer, { kind: FrameKind.datagram, association, payload: Buffer.from('ok') });
  t.deepEqual(refusal, { kind: FrameKind.portUnreachable, association, payload: Buffer.alloc(0) });
});

test('a longer frame leaves nothing of the one before it in the same memory', (t) => {
  const bytes = Buffer.alloc(frameHeaderSize);
  writeFrame(bytes, 0, six, Buffer.alloc(0));
  writeFrame(bytes, 0, four, Buffer.alloc(0));
  t.deepEqual(bytes, frame(four, Buffer.alloc(0)));
});

test('addresses in text are the canonical ones', (t) => {
  for (const address of ['198.18.0.1', '0.0.0.0', 'fd00:198:18::2', '::1', '::', 'fe80::1:0:0:2']) {
    t.is(addressText(addressBytes(address)), address);
  }
  t.is(addressText(Buffer.from('20010db8000000000000ff0000428329', 'hex')), '2001:db8::ff00:42:8329');
});
