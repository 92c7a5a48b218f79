import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import test from 'ava';
import { failureOf, Pod, podAddress, shout, textOf } from './pod.ts';

let pod: Pod;
test.before(async () => {
  pod = await Pod.start();
});
test.after.always(async () => pod.close());

for (const [where, host, port] of [
  ['the wildcard', '0.0.0.0', 8001],
  ["the pod's address", podAddress, 8002],
] as const) {
  test(`an app bound to ${where} answers, and is dialled from 127.0.0.6`, async (t) => {
    const sources: (string | undefined)[] = [];
    await pod.serve(
      port,
      (socket) => {
        sources.push(socket.remoteAddress);
        shout(socket);
      },
      host,
    );
    const socket = await pod.call(port);
    socket.end('hello');
    t.is(await textOf(socket), 'HELLO');
    t.deepEqual(sources, ['127.0.0.6']);
  });
}

test('an app bound to 127.0.0.1 cannot be reached from outside, as without us', async (t) => {
  await pod.serve(8003, (socket) => socket.end('secret'), '127.0.0.1');
  t.is(await failureOf(pod.call(8003)), 'ECONNRESET');
});

test('a port where nothing listens is a reset', async (t) => {
  t.is(await failureOf(pod.call(8099)), 'ECONNRESET');
});

test('a server that speaks first is heard first', async (t) => {
  await pod.serve(8004, (socket) => socket.write('220 ready\r\n'));
  const socket = await pod.call(8004);
  const greeting: unknown[] = await once(socket, 'data');
  t.is(String(greeting[0]), '220 ready\r\n');
  socket.destroy();
});

test("the app's half-close reaches the caller, who can still send", async (t) => {
  const received = Promise.withResolvers<string>();
  await pod.serve(8005, (socket) => {
    socket.end('all there is');
    textOf(socket).then(received.resolve, received.reject);
  });
  const socket = await pod.call(8005);
  t.is(await textOf(socket), 'all there is');
  socket.end('and more');
  t.is(await received.promise, 'and more');
});

test("the app's reset is the caller's reset", async (t) => {
  await pod.serve(8006, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const socket = await pod.call(8006);
  socket.write('x');
  t.is(await failureOf(socket), 'ECONNRESET');
});

test("the caller's reset is the app's reset", async (t) => {
  const accepted = Promise.withResolvers<Socket>();
  await pod.serve(8007, accepted.resolve);
  const socket = await pod.call(8007);
  const app = await accepted.promise;
  socket.on('error', () => undefined).resetAndDestroy();
  t.is(await failureOf(app), 'ECONNRESET');
});

test('100 connections at once carry 256 KiB each way, unchanged', async (t) => {
  await pod.serve(8008, (socket) => socket.pipe(socket));
  const sums = await Promise.all(
    Array.from({ length: 100 }, async () => {
      const sent = randomBytes(256 * 1024);
      const socket = await pod.call(8008);
      socket.end(sent);
      const hash = createHash('sha1');
      socket.on('data', (chunk: Buffer) => hash.update(chunk));
      await once(socket, 'end');
      return hash.digest('hex') === createHash('sha1').update(sent).digest('hex');
    }),
  );
  t.true(sums.every(Boolean));
});

test('both sides of a connection are kept alive', async (t) => {
  await pod.serve(8010, (socket) => socket.pipe(socket));
  const open = await pod.call(8010);
  open.write('x');
  await once(open, 'data');
  const ends = `( dport = :${open.localPort} and sport = :15306 ) or dport = :8010`;
  const sockets = (await pod.namespace.run('ss', ['-Htno', 'state', 'established', ends])).trim().split('\n');
  t.is(sockets.length, 2, sockets.join('\n'));
  for (const socket of sockets) t.true(socket.includes('timer:(keepalive'), socket);
  open.destroy();
});

test("dialling the capture's own port is a reset, from outside and from inside", async (t) => {
  t.is(await failureOf(pod.call(15_306)), 'ECONNRESET');
  t.is(await failureOf(pod.namespace.connect({ host: '127.0.0.1', port: 15_306 })), 'ECONNRESET');
  t.is(await failureOf(pod.namespace.connect({ host: podAddress, port: 15_306 })), 'ECONNRESET');
});

test('the tunnel is not reachable from outside the pod, the health port is', async (t) => {
  await t.throwsAsync(pod.call(15_310), { message: 'ECONNREFUSED' });
  t.is(await pod.readiness(), '200 ready');
});

test('what the pod sends to itself does not cross the sidecar', async (t) => {
  const sources: (string | undefined)[] = [];
  await pod.serve(8009, (socket) => {
    sources.push(socket.remoteAddress);
    socket.end();
  });
  await textOf(await pod.namespace.connect({ host: podAddress, port: 8009 }));
  t.deepEqual(sources, [podAddress]);
});
