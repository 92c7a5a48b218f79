import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { answerDial, DialError, dialTcp, spliceSockets, spliceStream, type AnswerResult } from '../../../src/forwarder/index.ts';
import { systemCode } from '../../../src/platform/errors.ts';
import { OpenError } from '../../../src/tunnel/index.ts';
import type { Session, StreamSink, TunnelStream } from '../../../src/tunnel/types.ts';
import { acceptor, chunkOf, portOf, request, sessionPair, socketPair } from '../tunnel/pair.ts';

async function listen(t: ExecutionContext, handler: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => undefined);
    handler(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return server;
}

async function errorCode(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => socket.once('error', (error) => resolve(systemCode(error))));
}

async function textOf(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(socket, 'end');
  return text;
}

interface Path {
  /** What the program on the laptop holds. */
  readonly client: Socket;
  /** What the far server accepted. */
  readonly server: Socket;
  readonly laptop: Session;
  readonly answer: Promise<AnswerResult>;
  readonly splice: Promise<unknown>;
}

/** client ↔ spliceStream ↔ session ↔ answerDial ↔ server, all over loopback. */
async function path(t: ExecutionContext): Promise<Path> {
  const accepted = Promise.withResolvers<Socket>();
  const server = await listen(t, accepted.resolve);
  const destination = { address: '127.0.0.1', port: portOf(server) };
  const answer = Promise.withResolvers<AnswerResult>();
  const { laptop } = await sessionPair(t, {}, { incoming: (stream) => answer.resolve(answerDial(stream, destination)) });
  const [client, captured] = await socketPair();
  captured.pause();
  const splice = spliceStream(captured, await laptop.open(request));
  const served = await accepted.promise;
  t.teardown(() => {
    client.destroy();
    served.destroy();
  });
  return { client, server: served, laptop, answer: answer.promise, splice };
}

test('half-close goes each way on its own, and the result has the bytes', async (t) => {
  const { client, server, answer, splice, laptop } = await path(t);
  client.end('hello');
  t.is(await textOf(server), 'hello');
  t.true(client.readable);
  server.end('goodbye');
  t.is(await textOf(client), 'goodbye');
  t.deepEqual(await splice, { sent: 5, received: 7, ended: { kind: 'finished' } });
  t.deepEqual(await answer, { kind: 'spliced', result: { sent: 7, received: 5, ended: { kind: 'finished' } } });
  t.is(laptop.activeStreams, 0);
});

for (const side of ['client', 'server'] as const) {
  test(`a RST of the ${side} arrives at the other end as ECONNRESET, not as a close`, async (t) => {
    const ends = await path(t);
    const other = side === 'client' ? ends.server : ends.client;
    ends[side].on('error', () => undefined).resume();
    other.resume();
    const code = errorCode(other);
    ends[side].write('x');
    await once(other, 'data');
    ends[side].resetAndDestroy();
    t.is(await code, 'ECONNRESET');
    const answer = await ends.answer;
    t.is(answer.kind === 'spliced' ? answer.result.ended.kind : '', side === 'client' ? 'stream-reset' : 'socket-failed');
    await ends.splice;
  });
}

test('the loss of the session resets what goes through it', async (t) => {
  const { client, server, laptop, splice } = await path(t);
  client.resume();
  server.resume();
  const codes = Promise.all([errorCode(client), errorCode(server)]);
  laptop.abort(new Error('lost'));
  t.deepEqual(await codes, ['ECONNRESET', 'ECONNRESET']);
  await splice;
});

test('a server that speaks first is heard', async (t) => {
  const { client, server } = await path(t);
  server.write('220 ready');
  const chunk = await chunkOf(client);
  t.is(chunk.toString(), '220 ready');
});

test('megabytes pass in both directions at once', async (t) => {
  const { client, server } = await path(t);
  const size = 20 * 2 ** 20;
  const count = async (socket: Socket): Promise<number> => {
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
    await once(socket, 'end');
    return bytes;
  };
  const counts = Promise.all([count(client), count(server)]);
  client.end(Buffer.alloc(size, 1));
  server.end(Buffer.alloc(size, 2));
  t.deepEqual(await counts, [size, size]);
});

test('a destination that refuses is refused with its class, and nothing is accepted', async (t) => {
  const closed = await listen(t, () => undefined);
  const port = portOf(closed);
  closed.close();
  await once(closed, 'close');
  const answered = Promise.withResolvers<AnswerResult>();
  const { laptop } = await sessionPair(
    t,
    {},
    { incoming: (stream) => answered.resolve(answerDial(stream, { address: '127.0.0.1', port })) },
  );
  const error = await t.throwsAsync(laptop.open(request), { instanceOf: OpenError });
  t.is(error?.errorClass, 'refused');
  t.regex(error?.message ?? '', new RegExp(`127.0.0.1:${port}`, 'u'));
  t.is((await answered.promise).kind, 'refused');
});

test('the far end giving up cancels the dial', async (t) => {
  // TEST-NET-1 (RFC 5737) answers nobody; where a network does answer, the dial ends by itself.
  const answered = Promise.withResolvers<Promise<AnswerResult>>();
  const { laptop } = await sessionPair(
    t,
    {},
    {
      incoming: (stream) => answered.resolve(answerDial(stream, { address: '192.0.2.1', port: 9 })),
    },
  );
  const controller = new AbortController();
  const opening = t.throwsAsync(laptop.open(request, { signal: controller.signal }), { instanceOf: OpenError });
  const answer = await Promise.race([answered.promise.then((promise) => ({ promise })), laptop.ended]);
  controller.abort();
  await opening;
  t.true('promise' in answer && ['cancelled', 'refused'].includes((await answer.promise).kind));
});

test('dialTcp gives a paused socket that can be half-open', async (t) => {
  const server = await listen(t, (socket) => socket.end('first'));
  const socket = await dialTcp({ address: '127.0.0.1', port: portOf(server) });
  t.true(socket.isPaused());
  t.true(socket.allowHalfOpen);
  t.is(socket.bytesRead, 0);
  socket.resume();
  t.is(await textOf(socket), 'first');
  socket.end();
  await once(socket, 'close');
});

test('dialTcp rejects with the class of the error, on time-out and when aborted', async (t) => {
  const refused = await t.throwsAsync(dialTcp({ address: '127.0.0.1', port: 1 }), { instanceOf: DialError });
  t.is(refused?.errorClass, 'refused');
  const unreachable = await t.throwsAsync(dialTcp({ address: '127.0.0.1', port: 1 }, { localAddress: '192.0.2.1' }), {
    instanceOf: DialError,
  });
  t.is(unreachable?.errorClass, 'unreachable');
  await t.throwsAsync(dialTcp({ address: '127.0.0.1', port: 1 }, { signal: AbortSignal.abort(new Error('enough')) }), {
    message: 'enough',
  });
});

test('dialTcp gives up on a destination that does not answer', async (t) => {
  // A listener that never accepts, with a full backlog, answers no SYN.
  const script = `const s = require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    process.stdout.write(String(s.address().port));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  })`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const port = await new Promise<number>((resolve) => child.stdout.once('data', (chunk: Buffer) => resolve(Number(chunk))));
  const dials = await Promise.allSettled(
    Array.from({ length: 6 }, async () => dialTcp({ address: '127.0.0.1', port }, { timeoutMilliseconds: 300 })),
  );
  child.kill('SIGKILL');
  await exited;
  const reasons: unknown[] = [];
  for (const dial of dials) {
    if (dial.status === 'rejected') reasons.push(dial.reason);
    else dial.value.on('error', () => undefined).destroy();
  }
  t.true(reasons.length > 0);
  for (const reason of reasons) t.is(reason instanceof DialError ? reason.errorClass : reason, 'timeout');
});

test('spliceSockets passes half-close and RST on', async (t) => {
  const [client, a] = await socketPair();
  const [b, server] = await socketPair();
  const done = spliceSockets(a, b);
  client.end('hello');
  t.is(await textOf(server), 'hello');
  server.end('bye');
  t.is(await textOf(client), 'bye');
  t.deepEqual(await done, { sent: 5, received: 3, ended: { kind: 'finished' } });

  const [client2, a2] = await socketPair();
  const [b2, server2] = await socketPair();
  const reset = spliceSockets(a2, b2);
  client2.resume();
  const code = errorCode(client2);
  server2.resetAndDestroy();
  t.is(await code, 'ECONNRESET');
  t.is((await reset).ended.kind, 'other-failed');
});

test('splicing a socket that is closed already resets the other side', async (t) => {
  const far = acceptor();
  const { laptop, pod } = await sessionPair(t, {}, { incoming: far.incoming });
  const [client, captured] = await socketPair();
  captured.destroy();
  await once(captured, 'close');
  const result = await spliceStream(captured, await laptop.open(request));
  t.is(result.ended.kind, 'socket-failed');
  await laptop.request('after', {});
  await far.next();
  t.is(pod.activeStreams, 0);
  client.destroy();
});

test('large pieces of one turn of the event loop become one write, in order, before the end', async (t) => {
  const [client, socket] = await socketPair();
  t.teardown(() => client.destroy());
  const attached = Promise.withResolvers<StreamSink>();
  const returned: number[] = [];
  const stream: TunnelStream = {
    id: 1,
    attach: attached.resolve,
    write: () => true,
    end: () => undefined,
    reset: () => undefined,
    consumed: (bytes) => returned.push(bytes),
  };
  const splice = spliceStream(socket, stream);
  const sink = await attached.promise;
  const text = textOf(client);
  const pieces = ['a', 'b', 'c', 'd'].map((letter) => Buffer.alloc(16 * 1024, letter));
  for (const piece of pieces) sink.data(piece);
  sink.data(Buffer.from('last'));
  sink.end();
  t.is(await text, `${Buffer.concat(pieces).toString()}last`);
  client.end();
  t.like(await splice, { ended: { kind: 'finished' }, received: 64 * 1024 + 4 });
  t.deepEqual(returned, [64 * 1024 + 4], 'credit comes back once for each write');
});
