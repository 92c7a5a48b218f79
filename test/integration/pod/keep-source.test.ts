import { once } from 'node:events';
import test from 'ava';
import { ask, laptopProcess } from './peers.ts';
import { Pod, failureOf, nodeAddress, nodeAddress6, podAddress6, shout, textOf, tproxy } from './pod.ts';

let pod: Pod;
test.before(async () => {
  pod = await Pod.start([], { ...tproxy, KPEERING_KEEP_SOURCE: '1' });
  // All ports have one listener: while any is claimed, the others are passed through.
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8100);
});
test.after.always(async () => pod.close());

test("the app sees the caller's own address for what is passed through, by IPv4 and IPv6", async (t) => {
  await pod.serve(8101, (socket) => socket.end(`${socket.remoteAddress}`), '::');
  t.is(await ask(pod, 8101), `::ffff:${nodeAddress}`);
  t.is(await ask(pod, 8101, 'x', podAddress6), nodeAddress6);
});

test('half-close and megabytes pass both ways', async (t) => {
  await pod.serve(8102, shout);
  const text = 'kpeering '.repeat(200_000);
  t.true((await ask(pod, 8102, text)) === text.toUpperCase());
});

test('a reset is a reset, and so is a port on which nothing listens', async (t) => {
  await pod.serve(8103, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const caller = await pod.call(8103);
  caller.write('x');
  t.is(await failureOf(caller), 'ECONNRESET');
  t.is(await failureOf(pod.call(8199)), 'ECONNRESET');
});

test('many connections of one caller at once', async (t) => {
  await pod.serve(8104, shout);
  const sockets = await Promise.all(Array.from({ length: 200 }, async () => pod.call(8104)));
  const answers = await Promise.all(
    sockets.map(async (socket, index) => {
      socket.end(`caller ${index}`);
      return textOf(socket);
    }),
  );
  t.deepEqual(
    answers,
    sockets.map((_, index) => `CALLER ${index}`),
  );
});

test('a connection that the app keeps open is not disturbed by others of the same caller', async (t) => {
  await pod.serve(8105, (socket) => socket.pipe(socket));
  const open = await pod.call(8105);
  open.write('one');
  await once(open, 'data');
  await Promise.all(Array.from({ length: 50 }, async () => ask(pod, 8105)));
  open.end('two');
  t.is(await textOf(open), 'two');
});
