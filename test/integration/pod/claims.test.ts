import { once } from 'node:events';
import type { Socket } from 'node:net';
import test from 'ava';
import { claimsAnswerSchema, holderSchema } from '../../../src/claims/messages.ts';
import { spliceStream } from '../../../src/forwarder/splice.ts';
import { newSessionId, OpenError, RequestError, type IncomingStream, type OpenRequest } from '../../../src/tunnel/index.ts';
import { Recorder } from '../../unit/tunnel/pair.ts';
import { ask, laptopProcess } from './peers.ts';
import { failureOf, nodeAddress, Pod, podAddress, textOf, type Laptop } from './pod.ts';

/** Short enough to wait for, long enough for a busy machine to do something within it. */
const graceMilliseconds = 3000;
let pod: Pod;
test.before(async () => {
  pod = await Pod.start(['--grace-seconds', String(graceMilliseconds / 1000)]);
});
test.after.always(async () => pod.close());

/** An app that says where it is. */
async function app(port: number): Promise<void> {
  await pod.serve(port, (socket) => socket.end('the app'));
}

async function claimsOf(laptop: Laptop) {
  return claimsAnswerSchema.parse(await laptop.session.request('claims', {})).claims;
}

test('a claimed flow reaches the laptop with its original destination and source', async (t) => {
  await app(8101);
  const requests: OpenRequest[] = [];
  const laptop = await pod.laptop(laptopProcess('alice', requests));
  t.is(laptop.session.peer.role, 'sidecar');
  t.is(laptop.session.peer.name, 'shop/web-7d9');
  t.is(await ask(pod, 8101), 'the app');
  t.deepEqual(await laptop.claim(8101), { again: false, staying: 0 });
  const caller = await pod.call(8101);
  const { localPort } = caller;
  caller.end('hello');
  t.is(await textOf(caller), 'alice heard hello');
  t.deepEqual(requests, [
    {
      kind: 'claimed',
      destination: { address: podAddress, port: 8101 },
      source: { address: nodeAddress, port: localPort ?? 0 },
    },
  ]);
  await laptop.session.close();
});

test('half-close and reset cross the tunnel as they are', async (t) => {
  const streams: IncomingStream[] = [];
  const laptop = await pod.laptop((incoming) => streams.push(incoming));
  await laptop.claim(8102);
  const caller = await pod.call(8102);
  const recorders: Recorder[] = [];
  while (streams.length === 0) await new Promise(setImmediate);
  const stream = streams[0]?.accept();
  if (stream === undefined) throw new Error('no stream');
  recorders.push(new Recorder(stream));
  // The laptop's process speaks and half-closes first; the caller can still send, and then resets.
  stream.write(Buffer.from('all'));
  stream.end();
  t.is(await textOf(caller), 'all');
  caller.write('more');
  await recorders[0]?.until(() => recorders[0]?.text === 'more');
  caller.on('error', () => undefined).resetAndDestroy();
  t.is(await recorders[0]?.finished, 'peer');
  await laptop.session.close();
});

test('somebody else is told who holds a port, and since when', async (t) => {
  const alice = await pod.laptop();
  const bob = await pod.laptop(undefined, { name: 'bob@build-3', user: 'bob' });
  await alice.claim(8103);
  const error = await t.throwsAsync(bob.claim(8103), { instanceOf: RequestError, message: /claimed by alice@mbp/u });
  t.is(error.code, 'held');
  const holder = holderSchema.parse(error.details);
  t.is(holder.name, 'alice@mbp');
  t.is(holder.user, 'alice');
  t.true(Math.abs(Date.parse(holder.since) - Date.now()) < 60_000);
  const listed = (await claimsOf(bob)).find((claim) => claim.port === 8103);
  t.is(listed?.state, 'active');
  t.deepEqual(listed?.holder, holder);
  await Promise.all([alice.session.close(), bob.session.close()]);
});

test('a laptop whose process does not listen resets the caller, and the app is not asked', async (t) => {
  let asked = 0;
  await pod.serve(8104, (socket) => {
    asked += 1;
    socket.end();
  });
  const laptop = await pod.laptop((stream) => stream.refuse('refused', 'nobody listens'));
  await laptop.claim(8104);
  t.is(await failureOf(pod.call(8104)), 'ECONNRESET');
  t.is(asked, 0);
  await laptop.session.close();
});

test('after a release new flows go to the app, and those that are open go on', async (t) => {
  await app(8105);
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8105);
  const open = await pod.call(8105);
  open.write('first ');
  while ((await claimsOf(laptop)).find((claim) => claim.port === 8105)?.activeFlows !== 1) await new Promise(setImmediate);
  await laptop.session.request('release', { protocol: 'tcp', port: 8105 });
  t.is(await ask(pod, 8105), 'the app');
  open.end('second');
  t.is(await textOf(open), 'alice heard first second');
  t.deepEqual(await laptop.session.request('release', { protocol: 'tcp', port: 8105 }), {});
  await laptop.session.close();
});

test('a goodbye ends claims at once', async (t) => {
  await app(8106);
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8106);
  const other = await pod.laptop(undefined, { name: 'bob@build-3' });
  await laptop.session.close();
  const states: string[] = [];
  for (;;) {
    const claim = (await claimsOf(other)).find(({ port }) => port === 8106);
    if (claim === undefined) break;
    states.push(claim.state);
  }
  t.false(states.includes('grace'));
  t.is(await ask(pod, 8106), 'the app');
  await other.session.close();
});

test('when the laptop dies, new flows wait and go to the app once the grace is over', async (t) => {
  await app(8107);
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8107);
  await laptop.die();
  const before = performance.now();
  const other = await pod.laptop(undefined, { name: 'bob@build-3' });
  t.is((await claimsOf(other)).find((claim) => claim.port === 8107)?.state, 'grace');
  await t.throwsAsync(other.claim(8107), { message: /its laptop is away/u });
  t.is(await ask(pod, 8107), 'the app');
  const took = performance.now() - before;
  t.true(took > graceMilliseconds / 4 && took < graceMilliseconds + 5000, `${took} ms`);
  t.deepEqual(await other.claim(8107), { again: false, staying: 0 });
  await other.session.close();
});

test('a flow that waits goes to the laptop when it is back within the grace and has claimed again', async (t) => {
  await app(8108);
  const id = newSessionId();
  const first = await pod.laptop(laptopProcess('first'), { id });
  await first.claim(8108);
  await first.die();
  const caller = await pod.call(8108);
  // The caller half-closes while it waits.
  caller.end('waiting');
  const second = await pod.laptop(laptopProcess('second'), { id });
  t.deepEqual(await second.claim(8108), { again: true, staying: 0 });
  t.is(await textOf(caller), 'second heard waiting');
  await second.session.close();
});

test('a caller that sends nothing but its half-close while it waits is heard, by the laptop and by the app', async (t) => {
  await pod.serve(8109, (socket) => void textOf(socket).then((text) => socket.end(`the app heard ${text}`)));
  const id = newSessionId();
  const first = await pod.laptop(laptopProcess('first'), { id });
  await first.claim(8109);
  await first.die();
  const one = await pod.call(8109);
  one.end();
  const second = await pod.laptop(laptopProcess('second'), { id });
  await second.claim(8109);
  t.is(await textOf(one), 'second heard ');
  await second.die();
  t.is(await ask(pod, 8109, ''), 'the app heard ');
});

test('a kpctl that is started again by the same user takes its claim over, and nobody else can', async (t) => {
  const first = await pod.laptop(laptopProcess('first'));
  await first.claim(8110);
  await first.die();
  const caller = await pod.call(8110);
  const stranger = await pod.laptop(undefined, { name: 'alice@mbp', user: 'mallory' });
  await t.throwsAsync(stranger.claim(8110), { instanceOf: RequestError });
  const second = await pod.laptop(laptopProcess('second'));
  t.deepEqual(await second.claim(8110), { again: false, staying: 0 });
  caller.end('hello');
  t.is(await textOf(caller), 'second heard hello');
  await Promise.all([stranger.session.close(), second.session.close()]);
});

test('an active claim is not taken over, not even by the same user', async (t) => {
  const first = await pod.laptop();
  await first.claim(8111);
  const second = await pod.laptop();
  await t.throwsAsync(second.claim(8111), { instanceOf: RequestError });
  await Promise.all([first.session.close(), second.session.close()]);
});

test('a flow whose opening was unanswered when the laptop died goes to the app', async (t) => {
  await app(8112);
  const opened = Promise.withResolvers<void>();
  const laptop = await pod.laptop(() => opened.resolve());
  await laptop.claim(8112);
  const answer = ask(pod, 8112);
  await opened.promise;
  await laptop.die();
  t.is(await answer, 'the app');
});

test('flows that are open through the tunnel are reset when the laptop dies', async (t) => {
  const laptop = await pod.laptop((incoming) => void incoming.accept().write(Buffer.from('hello')));
  await laptop.claim(8113);
  const caller = await pod.call(8113);
  await once(caller, 'data');
  const failure = failureOf(caller);
  await laptop.die();
  t.is(await failure, 'ECONNRESET');
});

test('a caller that goes away while the laptop dials is given up', async (t) => {
  const opened = Promise.withResolvers<IncomingStream>();
  const laptop = await pod.laptop(opened.resolve);
  await laptop.claim(8114);
  const caller = await pod.call(8114);
  const stream = await opened.promise;
  const aborted = once(stream.signal, 'abort');
  caller.on('error', () => undefined).resetAndDestroy();
  await aborted;
  t.true(stream.signal.aborted);
  await laptop.session.close();
});

test('a laptop that reconnects before its loss was noticed keeps its claims', async (t) => {
  const id = newSessionId();
  const first = await pod.laptop(laptopProcess('first'), { id });
  await first.claim(8115);
  const second = await pod.laptop(laptopProcess('second'), { id });
  t.is((await first.session.ended).kind, 'lost');
  t.deepEqual(await second.claim(8115), { again: true, staying: 0 });
  t.is(await ask(pod, 8115, 'hello'), 'second heard hello');
  await second.session.close();
});

test('a laptop dials from the pod, by any of its addresses, but not the ports of kpeering', async (t) => {
  await pod.serve(8116, (socket) => socket.end('the app'), '127.0.0.1');
  const laptop = await pod.laptop();
  const stream = await laptop.session.open({ kind: 'dial', destination: { address: '127.0.0.1', port: 8116 } });
  const recorder = new Recorder(stream);
  t.is(await recorder.finished, 'end');
  t.is(recorder.text, 'the app');
  stream.end();
  for (const [address, port] of [
    ['127.0.0.1', 15_310],
    ['127.0.0.1', 15_306],
    ['127.9.9.9', 15_306],
    ['0.0.0.0', 15_306],
    ['::ffff:127.0.0.1', 15_310],
    [podAddress, 15_306],
    [podAddress, 15_320],
  ] as const) {
    const error = await t.throwsAsync(laptop.session.open({ kind: 'dial', destination: { address, port } }), { instanceOf: OpenError });
    t.is(error.errorClass, 'denied');
  }
  const byName = laptop.session.open({ kind: 'dial', destination: { address: 'localhost', port: 8116 } });
  t.is((await t.throwsAsync(byName, { instanceOf: OpenError })).errorClass, 'unsupported');
  const claimed = laptop.session.open({
    kind: 'claimed',
    destination: { address: podAddress, port: 80 },
    source: { address: nodeAddress, port: 1 },
  });
  t.is((await t.throwsAsync(claimed, { instanceOf: OpenError })).errorClass, 'unsupported');
  await laptop.session.close();
});

test('bad requests are answered with what is wrong', async (t) => {
  const laptop = await pod.laptop();
  t.is((await t.throwsAsync(laptop.claim(0), { instanceOf: RequestError })).code, 'bad-parameters');
  t.is((await t.throwsAsync(laptop.session.request('nonsense', {}), { instanceOf: RequestError })).code, 'unknown-method');
  await laptop.session.close();
});

test('64 MiB pass through a claim both ways', async (t) => {
  const bytes = 64 * 1024 * 1024;
  const count = async (socket: Socket): Promise<number> => {
    socket.resume();
    await once(socket, 'end');
    return socket.bytesRead;
  };
  const served = Promise.withResolvers<number>();
  const server = await pod.node.listen({ host: '127.0.0.1', port: 9001 });
  server.on('connection', (socket: Socket) => {
    socket.on('error', () => undefined);
    socket.end(Buffer.alloc(bytes, 1));
    count(socket).then(served.resolve, served.reject);
  });
  const laptop = await pod.laptop((incoming) => {
    void pod.node.connect({ host: '127.0.0.1', port: 9001 }).then(async (socket) => spliceStream(socket, incoming.accept()));
  });
  await laptop.claim(8117);
  const caller = await pod.call(8117);
  caller.end(Buffer.alloc(bytes, 2));
  t.is(await count(caller), bytes);
  t.is(await served.promise, bytes);
  await laptop.session.close();
});
