import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import { answerAssociation, type AssociationOptions, type AssociationResult } from '../../../src/forwarder/index.ts';
import type { TunnelAssociation } from '../../../src/tunnel/types.ts';
import { DatagramRecorder } from '../tunnel/datagram-recorder.ts';
import { request, sessionPair } from '../tunnel/pair.ts';

/** A UDP server on loopback; by default it sends each datagram back to its sender. */
async function serve(
  t: ExecutionContext,
  answer: (server: Socket, payload: Buffer, from: RemoteInfo) => void = (server, payload, from) =>
    server.send(payload, from.port, from.address),
  address = '127.0.0.1',
): Promise<{ readonly address: string; readonly port: number }> {
  const server = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  server.on('message', (payload, from) => answer(server, payload, from));
  server.bind(0, address);
  await once(server, 'listening');
  t.teardown(() => server.close());
  return server.address();
}

/** A laptop's association that the pod answers from a socket to `destination`. */
async function associate(
  t: ExecutionContext,
  destination: { readonly address: string; readonly port: number },
  options: AssociationOptions = {},
): Promise<{
  readonly association: TunnelAssociation;
  readonly answers: DatagramRecorder;
  readonly result: Promise<AssociationResult>;
}> {
  const { promise, resolve } = Promise.withResolvers<AssociationResult>();
  const { laptop } = await sessionPair(
    t,
    {},
    { incomingAssociation: (incoming) => resolve(answerAssociation(incoming, destination, options)) },
  );
  const association = laptop.openAssociation(request);
  return { association, answers: new DatagramRecorder(association), result: promise };
}

for (const address of ['127.0.0.1', '::1']) {
  test(`datagrams of any size reach a server at ${address} and come back`, async (t) => {
    const { association, answers, result } = await associate(t, await serve(t, undefined, address));
    // The IPv6 stack takes them too, in fragments of loopback's 64 KiB.
    const sizes = [5, 0, 1400, 65_507];
    for (const [index, size] of sizes.entries()) {
      association.send(Buffer.alloc(size, index + 1));
      await answers.count(index + 1);
    }
    t.deepEqual(
      answers.datagrams,
      sizes.map((size, index) => Buffer.alloc(size, index + 1)),
    );
    association.close();
    t.deepEqual(await result, { kind: 'ended', ended: { kind: 'closed' }, sent: 4, received: 4, dropped: 0 });
  });
}

test('a destination that nobody listens at ends the association as refused', async (t) => {
  const free = createSocket('udp4');
  free.bind(0, '127.0.0.1');
  await once(free, 'listening');
  const { port } = free.address();
  free.close();
  const { association, answers, result } = await associate(t, { address: '127.0.0.1', port });
  association.send(Buffer.from('is anybody there?'));
  const end = await answers.ended;
  t.true(end.kind === 'refused' && end.errorClass === 'refused', end.kind);
  const outcome = await result;
  t.true(outcome.kind === 'ended' && outcome.ended.kind === 'failed' && outcome.ended.errorClass === 'refused');
});

test('a destination to which there is no way is refused before it is accepted', async (t) => {
  for (const destination of [
    { address: '127.0.0.1', port: 0 },
    // Without SO_BROADCAST the kernel forbids it.
    { address: '255.255.255.255', port: 9 },
  ]) {
    const { answers, result } = await associate(t, destination);
    t.is((await answers.ended).kind, 'refused');
    t.is((await result).kind, 'refused');
  }
});

test('an association that is idle ends, and traffic in either direction keeps it', async (t) => {
  // The server answers after a while and again and again: only its datagrams keep the association.
  let sends = 0;
  const server = await serve(t, (socket, _, from) => {
    const timer = setInterval(() => {
      sends += 1;
      if (sends === 15) clearInterval(timer);
      socket.send('tick', from.port, from.address);
    }, 100);
  });
  const { association, answers, result } = await associate(t, server, { idleMilliseconds: 1000 });
  association.send(Buffer.from('begin'));
  t.deepEqual(await answers.ended, { kind: 'closed' });
  const outcome = await result;
  t.true(outcome.kind === 'ended' && outcome.ended.kind === 'idle');
  t.is(answers.datagrams.length, 15);
});

test('the end of the session ends the association and its socket', async (t) => {
  const { promise, resolve } = Promise.withResolvers<AssociationResult>();
  const server = await serve(t);
  const { laptop } = await sessionPair(t, {}, { incomingAssociation: (incoming) => resolve(answerAssociation(incoming, server)) });
  const association = laptop.openAssociation(request);
  const answers = new DatagramRecorder(association);
  association.send(Buffer.from('x'));
  await answers.count(1);
  laptop.abort(new Error('gone'));
  const outcome = await promise;
  t.true(outcome.kind === 'ended' && outcome.ended.kind === 'session-lost');
});
