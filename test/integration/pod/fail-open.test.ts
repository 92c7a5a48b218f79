import { once } from 'node:events';
import test from 'ava';
import { RequestError } from '../../../src/tunnel/index.ts';
import { requireProgram } from '../../../src/platform/programs.ts';
import { ask, laptopProcess } from './peers.ts';
import { Pod, failureOf, nodeAddress, textOf, tproxy } from './pod.ts';

const all = { ...tproxy, KPEERING_INBOUND_PORTS: '*' };

test('the sidecar is killed while a port is claimed: the very next connection reaches the app', async (t) => {
  await using pod = await Pod.start([], all);
  await pod.serve(8101, (socket) => socket.end('the app'));
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8101);
  const claimed = await pod.call(8101);
  claimed.write('x');
  // The kernel closes it: by a reset, or by a FIN when nothing was left unread.
  const ended = Promise.race([once(claimed.resume(), 'end'), once(claimed, 'close')]).catch(() => undefined);
  await pod.sidecar.terminate(pod.namespace, 'KILL');
  await pod.sidecar.exited;
  t.is(await ask(pod, 8101), 'the app');
  await ended;
  await pod.restart();
  t.is(await ask(pod, 8101), 'the app');
  const again = await pod.laptop(laptopProcess('bob'));
  await again.claim(8101);
  t.is(await ask(pod, 8101), 'bob heard x');
});

test("on SIGTERM new connections are the app's, and those that are open go on", async (t) => {
  await using pod = await Pod.start([], all);
  await pod.serve(8102, (socket) => socket.end('the app'));
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8102);
  const open = await pod.call(8102);
  open.write('one ');
  // Its flow has been taken on.
  while (!JSON.stringify(await laptop.session.request('claims', {})).includes('"activeFlows":1')) await new Promise(setImmediate);
  await pod.sidecar.terminate(pod.namespace);
  await pod.sidecar.logs('draining');
  t.is(await ask(pod, 8102), 'the app');
  await t.throwsAsync(laptop.claim(8103), { message: /about to end/u });
  open.end('two');
  t.is(await textOf(open), 'alice heard one two');
  t.is(await pod.sidecar.exited, 0);
});

test('uid 0 with NET_RAW as its one capability is enough', async (t) => {
  const wrapper = [requireProgram('setpriv', 'util-linux'), '--no-new-privs', '--inh-caps=-all', '--bounding-set=-all,+net_raw'];
  await using pod = await Pod.start([], { ...all, KPEERING_KEEP_SOURCE: '1' }, wrapper);
  await pod.serve(8106, (socket) => socket.end(`the app, to ${socket.remoteAddress}`));
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8107);
  t.is(await ask(pod, 8107), 'alice heard x');
  t.is(await ask(pod, 8106), `the app, to ${nodeAddress}`);
  await laptop.session.close();
});

test('without NET_RAW a claim fails with what to do, and the app answers', async (t) => {
  const wrapper = [requireProgram('setpriv', 'util-linux'), '--inh-caps=-all', '--bounding-set=-net_raw,-net_admin'];
  await using pod = await Pod.start([], all, wrapper);
  await pod.serve(8104, (socket) => socket.end('the app'));
  const laptop = await pod.laptop(laptopProcess('alice'));
  for (const attempt of [laptop.claim(8104), laptop.session.request('prove', {})]) {
    const error = await t.throwsAsync(attempt, { instanceOf: RequestError, message: /NET_RAW.*user 0/u });
    t.is(error.code, 'capture-failed');
  }
  t.deepEqual(await laptop.session.request('claims', {}), { claims: [] });
  t.is(await ask(pod, 8104), 'the app');
  await laptop.session.close();
});

test('with all ports captured, those of kpeering are reset when they are dialled', async (t) => {
  await using pod = await Pod.start([], all);
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8105);
  for (const port of [15_306, 15_301, 15_307, 15_308, 15_400, 15_500]) {
    const failure = await failureOf(pod.call(port));
    t.true(['ECONNRESET', 'ECONNREFUSED'].includes(failure), `${port}: ${failure}`);
  }
  t.is(await ask(pod, 8105), 'alice heard x');
  await laptop.session.close();
});
