import { randomBytes } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { acceptSession, connectSession, newSessionId, OpenError } from '../../../src/tunnel/index.ts';
import { FrameBatch } from '../../../src/tunnel/frame-batch.ts';
import { FrameDecoder } from '../../../src/tunnel/frame-decoder.ts';
import { FrameType, limits } from '../../../src/tunnel/frames.ts';
import { encodeHello, readHello } from '../../../src/tunnel/hello.ts';
import type { IncomingAssociation, OpenRequest, TunnelAssociation } from '../../../src/tunnel/types.ts';
import { DatagramRecorder, echo } from './datagram-recorder.ts';
import { acceptor, handlers, laptopHello, podHello, Recorder, request, sessionPair, socketPair, test } from './pair.ts';

const MIB = 1024 * 1024;

/** Keeps what the far end opens. */
function keeper() {
  const incoming: IncomingAssociation[] = [];
  const { promise, resolve } = Promise.withResolvers<IncomingAssociation>();
  return {
    incoming,
    first: promise,
    incomingAssociation: (association: IncomingAssociation): void => {
      incoming.push(association);
      resolve(association);
    },
  };
}

test('datagrams of every size up to 65,507 bytes arrive whole, and in order within the rate of the path', async (t) => {
  const { laptop, pod } = await sessionPair(t, {}, { incomingAssociation: echo });
  const association = laptop.openAssociation(request);
  const answers = new DatagramRecorder(association);
  const sizes = [0, 1, 2047, 2048, 32_768, 65_506, 65_507, ...Array.from({ length: 200 }, (_, index) => (index * 7919) % 65_508)];
  const sent = sizes.map((size) => randomBytes(size));
  for (const [index, payload] of sent.entries()) {
    t.true(association.send(payload));
    await answers.count(index);
  }
  await answers.count(sent.length);
  t.deepEqual(
    answers.datagrams.map((payload) => payload.length),
    sizes,
  );
  t.true(Buffer.concat(answers.datagrams).equals(Buffer.concat(sent)));
  t.deepEqual(laptop.datagrams, { sent: sizes.length, received: sizes.length, dropped: 0 });
  t.deepEqual(pod.datagrams, laptop.datagrams);
});

test('the pod opens associations as well, and what they are for arrives', async (t) => {
  const { incomingAssociation, first } = keeper();
  const { pod } = await sessionPair(t, { incomingAssociation });
  const claimed: OpenRequest = {
    kind: 'claimed',
    destination: { address: 'fd00::2', port: 53 },
    source: { address: 'fd00::1', port: 40_000 },
  };
  const association = pod.openAssociation(claimed);
  const answers = new DatagramRecorder(association);
  association.send(Buffer.from('query'));
  const incoming = await first;
  t.deepEqual(incoming.request, claimed);
  const far = incoming.accept();
  far.send(Buffer.from('answer'));
  t.deepEqual(new DatagramRecorder(far).texts, ['query']);
  await answers.count(1);
  t.deepEqual(answers.texts, ['answer']);
});

test('a few datagrams are kept until the far end has answered, and delivered even when the opener has left', async (t) => {
  const { incomingAssociation, first } = keeper();
  const { laptop, pod } = await sessionPair(t, {}, { incomingAssociation });
  const association = laptop.openAssociation(request);
  for (let index = 0; index < limits.earlyDatagrams + 3; index += 1) association.send(Buffer.from(String(index)));
  association.close();
  t.false(association.send(Buffer.from('late')));
  const incoming = await first;
  await laptop.request('after', {});
  const far = new DatagramRecorder(incoming.accept());
  t.deepEqual(
    far.texts,
    Array.from({ length: limits.earlyDatagrams }, (_, index) => String(index)),
  );
  t.deepEqual(await far.ended, { kind: 'closed' });
  t.deepEqual(pod.datagrams, { sent: 0, received: limits.earlyDatagrams, dropped: 3 });
});

test('what is kept for associations without an answer is bounded in the session', async (t) => {
  const { incomingAssociation, incoming } = keeper();
  const { laptop, pod } = await sessionPair(t, {}, { incomingAssociation });
  const payload = Buffer.alloc(60_000);
  const kept = Math.floor(limits.earlyDatagramBytes / payload.length);
  for (let index = 0; index < kept + 10; index += 1) {
    t.true(laptop.openAssociation(request).send(payload));
    await laptop.request('after', {});
  }
  t.deepEqual(pod.datagrams, { sent: 0, received: kept, dropped: 10 });
  // Refusing frees what was kept.
  for (const each of incoming) each.refuse('refused', 'not wanted');
  t.true(laptop.openAssociation(request).send(payload));
  await laptop.request('after', {});
  t.is(pod.datagrams.received, kept + 1);
});

test('refusing, closing and the loss of the session end an association, each with its reason', async (t) => {
  const { incomingAssociation, incoming } = keeper();
  const { laptop, pod } = await sessionPair(t, {}, { incomingAssociation });
  const [refused, closed, lost, later] = [0, 0, 0, 0].map(() => new DatagramRecorder(laptop.openAssociation(request)));
  await laptop.request('after', {});
  incoming[0]?.refuse('denied', 'it is ours');
  incoming[1]?.accept().close();
  incoming[2]?.accept();
  const far = incoming[3]?.accept();
  await laptop.request('after', {});
  far?.close({ errorClass: 'refused', message: 'ICMP says so' });
  t.deepEqual(await refused?.ended, { kind: 'refused', errorClass: 'denied', message: 'it is ours' });
  t.deepEqual(await closed?.ended, { kind: 'closed' });
  t.deepEqual(await later?.ended, { kind: 'refused', errorClass: 'refused', message: 'ICMP says so' });
  pod.abort(new Error('gone'));
  t.deepEqual(await lost?.ended, { kind: 'session-lost' });
  await laptop.ended;
  t.is(t.throws(() => laptop.openAssociation(request), { instanceOf: OpenError }).errorClass, 'lost');
});

test('a session that takes no associations refuses them', async (t) => {
  const { laptop } = await sessionPair(t);
  const end = await new DatagramRecorder(laptop.openAssociation(request)).ended;
  t.is(end.kind === 'refused' && end.errorClass, 'unsupported');
});

test('a datagram over 65,507 bytes is dropped and counted; the association goes on', async (t) => {
  const { laptop } = await sessionPair(t, {}, { incomingAssociation: echo });
  const association = laptop.openAssociation(request);
  const answers = new DatagramRecorder(association);
  t.false(association.send(Buffer.alloc(65_508)));
  t.true(association.send(Buffer.from('x')));
  await answers.count(1);
  t.deepEqual(laptop.datagrams, { sent: 1, received: 1, dropped: 1 });
});

test('there is a limit on associations at both ends; one that ends makes room', async (t) => {
  const associations: TunnelAssociation[] = [];
  const { laptop } = await sessionPair(t, {}, { incomingAssociation: (incoming) => incoming.accept() });
  for (let index = 0; index < limits.incomingAssociations; index += 1) associations.push(laptop.openAssociation(request));
  t.is(t.throws(() => laptop.openAssociation(request), { instanceOf: OpenError }).errorClass, 'failed');
  associations[7]?.close();
  const again = laptop.openAssociation(request);
  await laptop.request('after', {});
  t.true(again.send(Buffer.from('x')));
});

test('datagrams are dropped and counted, not queued, while the transport is slow, and streams go on', async (t) => {
  const far = acceptor();
  const { incomingAssociation, first } = keeper();
  const { laptop, pod, sockets } = await sessionPair(t, {}, { incoming: far.incoming, incomingAssociation }, { window: 64 * MIB });
  const association = laptop.openAssociation(request);
  const received = new DatagramRecorder((await first).accept());
  const stream = await laptop.open(request);
  const streamFar = new Recorder(await far.next());
  sockets[1].pause();
  // Until the buffers of the kernel are full.
  const chunk = Buffer.alloc(MIB, 1);
  for (let index = 0; index < 32; index += 1) stream.write(chunk);
  stream.end();
  const payload = Buffer.alloc(1400, 2);
  let queued = 0;
  while (sockets[0].writableLength === 0) await turn();
  await turn();
  while (association.send(payload)) queued += 1;
  t.true(queued * payload.length < limits.datagramBacklogBytes);
  for (let index = 0; index < 1000; index += 1) association.send(payload);
  t.is(laptop.datagrams.dropped, 1001);
  // A flood that never pauses, which the stream survives.
  const finished = new AbortController();
  const flood = (async () => {
    while (!finished.signal.aborted) {
      for (let index = 0; index < 200; index += 1) association.send(payload);
      await turn();
    }
  })();
  sockets[1].resume();
  t.is(await streamFar.finished, 'end');
  t.is(streamFar.bytes, 32 * MIB);
  finished.abort();
  await flood;
  await laptop.request('after', {});
  t.is(pod.datagrams.received, laptop.datagrams.sent);
  t.is(received.datagrams.length, laptop.datagrams.sent);
  t.true(received.datagrams.every((datagram) => datagram.equals(payload)));
});

const oldHello = { session: newSessionId(), software: '0.0.9', name: 'old', window: 1000, features: [] };

test('a far end that does not know datagrams: opening is unsupported, and nothing is sent', async (t) => {
  const [near, far] = await socketPair();
  const connecting = connectSession(
    { description: 'an old pod', connect: async () => near },
    { ...laptopHello, id: oldHello.session },
    handlers(),
  );
  await readHello(far, 'the laptop', AbortSignal.timeout(5000));
  const received: Buffer[] = [];
  far.on('data', (chunk: Buffer) => received.push(chunk)).on('error', () => undefined);
  far.resume();
  far.write(encodeHello({ ...oldHello, role: 'sidecar' }));
  const laptop = await connecting;
  t.is(t.throws(() => laptop.openAssociation(request), { instanceOf: OpenError }).errorClass, 'unsupported');
  await laptop.close();
  t.false(Buffer.concat(received).includes('udp'));
  far.destroy();
});

test('an association that is asked for where datagrams are not in force is refused as unsupported', async (t) => {
  const [near, far] = await socketPair();
  const accepting = acceptSession(far, podHello, handlers({ incomingAssociation: echo }));
  near.write(encodeHello({ ...oldHello, role: 'laptop' }));
  const { rest } = await readHello(near, 'a pod', AbortSignal.timeout(5000));
  const session = await accepting;
  const open = Buffer.from(JSON.stringify({ ...request, protocol: 'udp' }));
  const batch = new FrameBatch();
  batch.header(FrameType.open, 0, 1, open.length);
  batch.append(open);
  for (const part of batch.take()) near.write(part);
  const refusal = await new Promise<string>((resolve) => {
    const decoder = new FrameDecoder({
      data: () => undefined,
      frame: (type, _flags, stream, payload) => resolve(`${type} ${stream} ${payload.toString()}`),
    });
    decoder.push(rest);
    near.on('data', (chunk: Buffer) => decoder.push(chunk)).resume();
  });
  t.regex(refusal, /^18 1 .*"class":"unsupported"/u);
  session.abort(new Error('done'));
  near.on('error', () => undefined).destroy();
});
