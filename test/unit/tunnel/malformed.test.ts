import { once } from 'node:events';
import test from 'ava';
import { acceptSession, newSessionId, ProtocolError } from '../../../src/tunnel/index.ts';
import { FrameBatch } from '../../../src/tunnel/frame-batch.ts';
import { FrameDecoder } from '../../../src/tunnel/frame-decoder.ts';
import { END, FrameType } from '../../../src/tunnel/frames.ts';
import { encodeHello, readHello } from '../../../src/tunnel/hello.ts';
import { handlers, podHello, socketPair } from './pair.ts';

function frame(type: number, stream: number, payload: string | Buffer = '', flags = 0): Buffer {
  const bytes = Buffer.from(payload);
  const batch = new FrameBatch();
  batch.header(type, flags, stream, bytes.length);
  batch.append(bytes);
  return Buffer.concat(batch.take());
}

const open = (id: number): Buffer => frame(FrameType.open, id, '{"kind":"dial","destination":{"address":"::1","port":1}}');

const associate = (id: number): Buffer =>
  frame(FrameType.open, id, '{"kind":"dial","protocol":"udp","destination":{"address":"::1","port":1}}');

const malformed: Record<string, Buffer> = {
  'a frame over the limit': Buffer.from('1300ffffff00000001', 'hex'),
  'an unknown type': frame(0x42, 0),
  'a type whose feature is not in force': frame(FrameType.ack, 0, '12345678'),
  'a ping of another size': frame(FrameType.ping, 0, '1234'),
  'data on a stream that was never opened': frame(FrameType.data, 7, 'x'),
  'data before the stream was accepted': Buffer.concat([open(1), frame(FrameType.data, 1, 'x')]),
  'more early data than may be sent': Buffer.concat([open(1), frame(FrameType.data, 1, Buffer.alloc(16_385))]),
  'the end of a stream before it was accepted': Buffer.concat([open(1), frame(FrameType.data, 1, 'x', END)]),
  'an open with a number of our own side': open(2),
  'an open with the number 0': open(0),
  'an open with a number that was used': Buffer.concat([open(3), open(1)]),
  'an open that is not JSON': frame(FrameType.open, 1, '{'),
  'an answer to what was not opened': frame(FrameType.accept, 2),
  'a request that is not JSON': frame(FrameType.request, 1, 'x'),
  'a request without a method': frame(FrameType.request, 1, '{}'),
  'a datagram of the association 0': frame(FrameType.datagram, 0, 'x'),
  'a datagram of an association that was never opened': Buffer.concat([associate(1), frame(FrameType.datagram, 3, 'x')]),
  'a datagram over 65,507 bytes': Buffer.concat([associate(1), frame(FrameType.datagram, 1, Buffer.alloc(65_508))]),
  'data of an association': Buffer.concat([associate(1), frame(FrameType.data, 1, 'x')]),
  'credit of an association': Buffer.concat([associate(1), frame(FrameType.credit, 1, '1234')]),
  'an answer to an association of the far end itself': Buffer.concat([associate(1), frame(FrameType.accept, 1)]),
  'a reset of an association of another size': Buffer.concat([associate(1), frame(FrameType.reset, 1)]),
  'a credit of another size': Buffer.concat([open(1), frame(FrameType.credit, 1, 'x')]),
};

for (const [name, bytes] of Object.entries(malformed)) {
  test(`${name} ends the session with a ProtocolError, and the sender is told`, async (t) => {
    const [near, far] = await socketPair();
    const accepting = acceptSession(far, podHello, handlers({ incoming: () => undefined, incomingAssociation: () => undefined }));
    const features = name.includes('early data') || name.startsWith('the end') ? ['datagrams', 'early-data'] : ['datagrams'];
    near.write(encodeHello({ session: newSessionId(), role: 'laptop', software: '1', name: 'x', window: 1000, features }));
    const { rest } = await readHello(near, 'a pod', AbortSignal.timeout(5000));
    const session = await accepting;
    const received: Buffer[] = [rest];
    near.on('data', (chunk: Buffer) => received.push(chunk)).on('error', () => undefined);
    near.resume();
    near.write(bytes);
    const end = await session.ended;
    t.true(end.kind === 'lost' && end.cause instanceof ProtocolError, end.kind);
    if (!near.readableEnded) await once(near, 'end');
    t.regex(Buffer.concat(received).toString(), /"code":"protocol"/u);
    near.destroy();
    await session.close();
    t.true(far.destroyed);
  });
}

test('more data than the credit, and data after the end, are protocol errors', async (t) => {
  for (const bytes of [
    frame(FrameType.data, 1, Buffer.alloc(1001)),
    Buffer.concat([frame(FrameType.data, 1, 'x', END), frame(FrameType.data, 1, 'x')]),
  ]) {
    const [near, far] = await socketPair();
    const accepting = acceptSession(far, podHello, handlers({ incoming: (stream) => void stream.accept() }), { window: 1000 });
    near.write(encodeHello({ session: newSessionId(), role: 'laptop', software: '1', name: 'x', window: 1000, features: [] }));
    near.resume().on('error', () => undefined);
    near.write(Buffer.concat([open(1), bytes]));
    const session = await accepting;
    const end = await session.ended;
    t.true(end.kind === 'lost' && end.cause instanceof ProtocolError);
    near.destroy();
    await session.close();
  }
});

test('a datagram where datagrams are not in force, and one of a stream, are protocol errors', async (t) => {
  for (const [features, bytes] of [
    [[], frame(FrameType.datagram, 1, 'x')],
    [['datagrams'], Buffer.concat([open(1), frame(FrameType.datagram, 1, 'x')])],
  ] as const) {
    const [near, far] = await socketPair();
    const accepting = acceptSession(far, podHello, handlers({ incoming: (stream) => void stream.accept() }));
    near.write(encodeHello({ session: newSessionId(), role: 'laptop', software: '1', name: 'x', window: 1000, features: [...features] }));
    near.resume().on('error', () => undefined);
    near.write(bytes);
    const session = await accepting;
    const end = await session.ended;
    t.true(end.kind === 'lost' && end.cause instanceof ProtocolError);
    near.destroy();
    await session.close();
  }
});

test('a second ACCEPT of an association, and a reset in the place of the first, are protocol errors', async (t) => {
  for (const bytes of [Buffer.concat([frame(FrameType.accept, 2), frame(FrameType.accept, 2)]), frame(FrameType.reset, 2, Buffer.of(0))]) {
    const [near, far] = await socketPair();
    const accepting = acceptSession(far, podHello, handlers());
    near.write(encodeHello({ session: newSessionId(), role: 'laptop', software: '1', name: 'x', window: 1000, features: ['datagrams'] }));
    near.resume().on('error', () => undefined);
    const session = await accepting;
    session.openAssociation({ kind: 'dial', destination: { address: '::1', port: 1 } });
    near.write(bytes);
    const end = await session.ended;
    t.true(end.kind === 'lost' && end.cause instanceof ProtocolError);
    near.destroy();
    await session.close();
  }
});

test('an unknown type from 0x80 on, an unknown flag and a request of an unknown kind are passed over', async (t) => {
  const [near, far] = await socketPair();
  const heard = Promise.withResolvers<string>();
  const accepting = acceptSession(far, podHello, handlers({ notified: heard.resolve }));
  near.write(encodeHello({ session: newSessionId(), role: 'laptop', software: '1', name: 'x', window: 1000, features: ['later'] }));
  near.resume().on('error', () => undefined);
  near.write(
    Buffer.concat([
      frame(0x80, 5, 'what'),
      frame(FrameType.open, 1, '{"kind":"later"}'),
      frame(FrameType.notice, 0, '{"method":"m"}', 0x80),
    ]),
  );
  const session = await accepting;
  t.is(await heard.promise, 'm');
  near.destroy();
  t.is((await session.ended).kind, 'lost');
});

const conversation = Buffer.concat([
  frame(FrameType.ping, 0, '12345678'),
  frame(FrameType.data, 1, 'some bytes of a stream'),
  frame(0x91, 1, 'skipped'),
  frame(FrameType.data, 1, '', END),
  frame(FrameType.notice, 9, '{"method":"m"}'),
  frame(FrameType.data, 3, 'the end', END),
  frame(FrameType.accept, 4),
]);

function decode(pieces: readonly Buffer[]): string[] {
  const found: string[] = [];
  let data = '';
  const decoder = new FrameDecoder({
    data: (stream, slice, end) => {
      data += slice.toString();
      if (end) found.push(`${stream} ${data} end`);
      if (end) data = '';
    },
    frame: (type, flags, stream, payload) => found.push(`${type} ${flags} ${stream} ${payload.toString()}`),
  });
  for (const piece of pieces) decoder.push(piece);
  return found;
}

test('frames may be split at any byte, and at any two', (t) => {
  const whole = decode([conversation]);
  t.is(whole.length, 5);
  for (let first = 0; first <= conversation.length; first += 1) {
    for (let second = first; second <= conversation.length; second += 1) {
      const found = decode([conversation.subarray(0, first), conversation.subarray(first, second), conversation.subarray(second)]);
      if (found.join('\n') !== whole.join('\n')) t.fail(`split at ${first} and ${second}: ${found.join(' | ')}`);
    }
  }
  t.deepEqual(decode(Array.from(conversation, (byte) => Buffer.of(byte))), whole);
});

test('random bytes give frames or a ProtocolError, nothing else', (t) => {
  // A generator with a seed, so that a failure can be had again.
  let seed = 42;
  const next = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648);
  let errors = 0;
  for (let round = 0; round < 3000; round += 1) {
    const bytes = Buffer.from(Array.from({ length: next() % 200 }, () => (next() >> 8) % (round % 2 === 0 ? 256 : 3)));
    try {
      decode([bytes]);
    } catch (error) {
      t.true(error instanceof ProtocolError);
      errors += 1;
    }
  }
  t.true(errors > 100 && errors < 3000);
});
