import { once } from 'node:events';
import test from 'ava';
import { failureOf, Pod, textOf } from './pod.ts';

test('on SIGTERM the sidecar is not ready, takes no new connection, and ends after its last flow', async (t) => {
  await using pod = await Pod.start();
  await pod.serve(8201, (socket) => socket.pipe(socket));
  const laptop = await pod.laptop();
  const flow = await pod.call(8201);
  flow.write('one');
  await once(flow, 'data');
  await pod.sidecar.terminate(pod.namespace);
  await pod.sidecar.logs('draining');
  t.is(await pod.readiness(), '503 draining');
  await t.throwsAsync(pod.call(8201), { message: 'ECONNREFUSED' });
  await t.throwsAsync(laptop.claim(8201), { message: /about to end/u });
  flow.end('two');
  t.is(await textOf(flow), 'two');
  t.is((await laptop.session.ended).kind, 'goodbye');
  t.is(await pod.sidecar.exited, 0);
});

test('flows that outlast the deadline are reset', async (t) => {
  await using pod = await Pod.start(['--drain-seconds', '0.3']);
  await pod.serve(8202, (socket) => socket.pipe(socket));
  const flow = await pod.call(8202);
  flow.write('one');
  await once(flow, 'data');
  const failure = failureOf(flow);
  await pod.sidecar.terminate(pod.namespace);
  t.is(await failure, 'ECONNRESET');
  t.is(await pod.sidecar.exited, 0);
});

test('a second SIGTERM ends it at once', async (t) => {
  await using pod = await Pod.start();
  await pod.serve(8203, (socket) => socket.pipe(socket));
  const flow = await pod.call(8203);
  flow.write('one');
  await once(flow, 'data');
  const failure = failureOf(flow);
  await pod.sidecar.terminate(pod.namespace);
  await pod.sidecar.logs('draining');
  await pod.sidecar.terminate(pod.namespace);
  t.is(await failure, 'ECONNRESET');
  t.is(await pod.sidecar.exited, 0);
});
