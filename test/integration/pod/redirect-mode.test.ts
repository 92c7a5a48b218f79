import { once } from 'node:events';
import test from 'ava';
import { proveAnswerSchema, rulesAnswerSchema } from '../../../src/claims/messages.ts';
import { newSessionId, RequestError } from '../../../src/tunnel/index.ts';
import { ask, laptopProcess } from './peers.ts';
import { Pod, podAddress, podAddress6, shout, textOf } from './pod.ts';

let pod: Pod;
test.before(async () => {
  // All 32 bits of a mark count.
  pod = await Pod.start([], { KPEERING_MODE: 'redirect', KPEERING_EXEMPT_MARK: '0x80005157' });
});
test.after.always(async () => pod.close());

test('IPv6 is captured too: unclaimed it reaches the app from the pod’s own address, claimed the laptop', async (t) => {
  const sources: (string | undefined)[] = [];
  await pod.serve(
    8101,
    (socket) => {
      sources.push(socket.remoteAddress);
      shout(socket);
    },
    '::',
  );
  t.is(await ask(pod, 8101, 'six', podAddress6), 'SIX');
  t.is(await ask(pod, 8101, 'four'), 'FOUR');
  t.deepEqual(sources, [podAddress6, '::ffff:127.0.0.6']);
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8101);
  t.is(await ask(pod, 8101, 'six', podAddress6), 'alice heard six');
  await laptop.session.close();
});

test('flows that pass through stay with the app, and their end is told, also to a laptop that was away meanwhile', async (t) => {
  await pod.serve(8102, (socket) => socket.pipe(socket));
  const staying = await pod.call(8102);
  staying.write('x');
  await once(staying, 'data');
  const id = newSessionId();
  const first = await pod.laptop(laptopProcess('alice'), { id });
  t.deepEqual(await first.claim(8102), { again: false, staying: 1 });
  t.deepEqual(await first.claim(8102), { again: true, staying: 1 });
  await first.die();
  const second = await pod.laptop(laptopProcess('alice'), { id });
  t.deepEqual(await second.claim(8102), { again: true, staying: 1 });
  staying.end('last');
  t.is(await textOf(staying), 'last');
  while (second.notices.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  t.deepEqual(second.notices, [{ method: 'staying-ended', parameters: { protocol: 'tcp', port: 8102 } }]);
  t.deepEqual(await second.claim(8102), { again: true, staying: 0 });
  await second.session.close();
});

test('the proof is answered from outside while it is asked for, and a reset otherwise', async (t) => {
  const laptop = await pod.laptop();
  const { port, token } = proveAnswerSchema.parse(await laptop.session.request('prove', {}));
  for (const host of [podAddress, podAddress6]) t.regex(await ask(pod, port, 'GET / HTTP/1.0\r\n\r\n', host), new RegExp(token, 'u'));
  await t.throwsAsync(pod.namespace.connect({ host: podAddress, port }), { message: 'ECONNREFUSED' });
  await laptop.session.close();
});

test('UDP cannot be claimed, and the answer says why; the rules are told', async (t) => {
  const laptop = await pod.laptop();
  const error = await t.throwsAsync(laptop.claim({ protocol: 'udp', port: 53 }), {
    instanceOf: RequestError,
    message: /redirect mode \(asked for\)/u,
  });
  t.is(error.code, 'port-not-captured');
  t.like(error.details, { mode: 'redirect', udp: [] });
  const rules = rulesAnswerSchema.parse(await laptop.session.request('rules', {}));
  t.like(rules, { mode: 'redirect', reason: 'asked for', tcp: ['*'] });
  await laptop.session.close();
});

test('a rules file that cannot be read is logged, and the app answers', async (t) => {
  const wrapper = ['env', 'KPEERING_RULES_FILE=/nowhere/rules.json'];
  await using other = await Pod.start([], { KPEERING_MODE: 'redirect' }, wrapper);
  await other.serve(8103, shout);
  t.regex(await other.sidecar.logs('cannot be used'), /\/nowhere\/rules\.json/u);
  t.is(await ask(other, 8103, 'hello'), 'HELLO');
});
