import { once } from 'node:events';
import test from 'ava';
import { notCapturedSchema, proveAnswerSchema, rulesAnswerSchema } from '../../../src/claims/messages.ts';
import { RequestError, type IncomingStream, type OpenRequest } from '../../../src/tunnel/index.ts';
import { Recorder } from '../../unit/tunnel/pair.ts';
import { ask, laptopProcess } from './peers.ts';
import { Pod, failureOf, nodeAddress, podAddress, podAddress6, textOf, tproxy } from './pod.ts';

const environment = { ...tproxy, KPEERING_INBOUND_PORTS: '8101-8119,8120,8130-8139', KPEERING_EXCLUDE_INBOUND_PORTS: '8110' };
let pod: Pod;
test.before(async () => {
  pod = await Pod.start([], environment);
});
test.after.always(async () => pod.close());

/** Ports on which something listens in the pod. */
async function listening(): Promise<string> {
  return pod.namespace.run('ss', ['-Htln']);
}

test.serial('nothing listens for captured connections until one is claimed, and nothing once that is over', async (t) => {
  await pod.serve(8120, (socket) => socket.end(`the app, to ${socket.remoteAddress}`));
  t.notRegex(await listening(), /:155\d\d\b/u);
  t.is(await ask(pod, 8120), `the app, to ${nodeAddress}`);
  const requests: OpenRequest[] = [];
  const laptop = await pod.laptop(laptopProcess('alice', requests));
  t.deepEqual(await laptop.claim(8120), { again: false, staying: 0 });
  t.regex(await listening(), /:1550\d\b/u);
  t.is(await ask(pod, 8120, 'hello'), 'alice heard hello');
  t.deepEqual(requests[0]?.destination, { address: podAddress, port: 8120 });
  t.is(await ask(pod, 8120, 'six', podAddress6), 'alice heard six');
  t.deepEqual(requests[1]?.destination, { address: podAddress6, port: 8120 });
  await laptop.release(8120);
  t.is(await ask(pod, 8120), `the app, to ${nodeAddress}`);
  while (/:155\d\d\b/u.test(await listening()));
  await laptop.session.close();
});

test('connections that exist stay where they are, both ways', async (t) => {
  await pod.serve(8101, (socket) => socket.pipe(socket));
  const streams: IncomingStream[] = [];
  const laptop = await pod.laptop((incoming) => streams.push(incoming));
  const before = await pod.call(8101);
  before.write('one ');
  await once(before, 'data');
  t.deepEqual(await laptop.claim(8101), { again: false, staying: 1 });
  const claimed = await pod.call(8101);
  claimed.write('claimed ');
  while (streams.length === 0) await new Promise(setImmediate);
  const stream = streams[0]?.accept();
  if (stream === undefined) throw new Error('no stream');
  const recorder = new Recorder(stream);
  await laptop.release(8101);
  before.end('two');
  t.is(await textOf(before), 'two');
  claimed.end('still');
  t.is(await recorder.finished, 'end');
  t.is(recorder.text, 'claimed still');
  stream.write(Buffer.from('answer'));
  stream.end();
  t.is(await textOf(claimed), 'answer');
  await laptop.session.close();
});

test('half-close and reset cross as they are', async (t) => {
  const streams: IncomingStream[] = [];
  const laptop = await pod.laptop((incoming) => streams.push(incoming));
  await laptop.claim(8102);
  const caller = await pod.call(8102);
  while (streams.length === 0) await new Promise(setImmediate);
  const stream = streams[0]?.accept();
  if (stream === undefined) throw new Error('no stream');
  const recorder = new Recorder(stream);
  stream.write(Buffer.from('all'));
  stream.end();
  t.is(await textOf(caller), 'all');
  caller.write('more');
  await recorder.until(() => recorder.text === 'more');
  caller.on('error', () => undefined).resetAndDestroy();
  t.is(await recorder.finished, 'peer');
  const second = await pod.call(8102);
  while (streams.length === 1) await new Promise(setImmediate);
  const failure = failureOf(second);
  streams[1]?.accept().reset();
  t.is(await failure, 'ECONNRESET');
  await laptop.session.close();
});

test("an unclaimed port of a claimed range is passed through, and the app sees the pod's own address", async (t) => {
  await pod.serve(8103, (socket) => socket.end(`the app, to ${socket.remoteAddress}`), '::');
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8104);
  t.is(await ask(pod, 8103), `the app, to ::ffff:${podAddress}`);
  t.is(await ask(pod, 8103, 'x', podAddress6), `the app, to ${podAddress6}`);
  t.is(await failureOf(pod.call(8105)), 'ECONNRESET');
  // Both sides are kept alive.
  await pod.serve(8107, (socket) => socket.pipe(socket));
  const open = await pod.call(8107);
  open.write('x');
  await once(open, 'data');
  const sockets = await pod.namespace.run('ss', ['-Htno', 'state', 'established', '( sport = :8107 or dport = :8107 )']);
  const keptAlive = sockets.split('\n').filter((line) => line.includes('timer:(keepalive'));
  t.is(keptAlive.length, 2, sockets);
  open.destroy();
  await laptop.session.close();
});

test('a port that the rules do not capture cannot be claimed, and the answer names those that can', async (t) => {
  const laptop = await pod.laptop();
  for (const target of [
    { protocol: 'tcp', port: 8110 },
    { protocol: 'tcp', port: 9000 },
    { protocol: 'tcp', port: 15_307 },
    { protocol: 'tcp', port: 15_310 },
    { protocol: 'udp', port: 8101 },
    { protocol: 'tcp', port: 80, address: '10.1.2.3' },
  ] as const) {
    const error = await t.throwsAsync(laptop.claim(target), { instanceOf: RequestError });
    t.is(error.code, 'port-not-captured');
    const details = notCapturedSchema.parse(error.details);
    t.is(details.mode, 'tproxy');
    t.deepEqual([...details.tcp].sort(), ['8101-8119', '8120', '8130-8139']);
  }
  await t.throwsAsync(laptop.claim(9000), { message: /8101-8119.*KPEERING_INBOUND_PORTS/u });
  const rules = rulesAnswerSchema.parse(await laptop.session.request('rules', {}));
  t.is(rules.mode, 'tproxy');
  t.is(rules.backend, 'nft');
  await laptop.session.close();
});

test('the proof: a connection from outside is answered with the word, one from inside is refused', async (t) => {
  const laptop = await pod.laptop();
  const { port, token } = proveAnswerSchema.parse(await laptop.session.request('prove', {}));
  for (const host of [podAddress, podAddress6]) {
    const socket = await pod.call(port, host);
    socket.write('GET / HTTP/1.0\r\n\r\n');
    const answer = await textOf(socket);
    t.regex(answer, /^HTTP\/1\.0 200 OK\r\n/u);
    t.is(answer.split('\r\n\r\n')[1]?.trim(), token);
  }
  await t.throwsAsync(pod.namespace.connect({ host: podAddress, port }), { message: 'ECONNREFUSED' });
  await laptop.session.close();
});

test('the connections that stay are counted, and their holder is told when they are gone', async (t) => {
  await pod.serve(8106, (socket) => socket.pipe(socket), '::');
  const staying = await Promise.all([pod.call(8106), pod.call(8106), pod.call(8106, podAddress6)]);
  for (const socket of staying) {
    socket.write('x');
    await once(socket, 'data');
  }
  // The pod's own, which nothing captures.
  const inside = await pod.namespace.connect({ host: podAddress, port: 8106 });
  const laptop = await pod.laptop(laptopProcess('alice'));
  t.deepEqual(await laptop.claim(8106), { again: false, staying: 3 });
  const claimed = await pod.call(8106);
  staying.pop()?.destroy();
  for (const socket of staying) socket.destroy();
  while (laptop.notices.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
  t.deepEqual(laptop.notices, [{ method: 'staying-ended', parameters: { protocol: 'tcp', port: 8106 } }]);
  claimed.destroy();
  inside.destroy();
  await laptop.session.close();
});

test('dialling the ports of kpeering is a reset or refused, and counted, from outside and from inside', async (t) => {
  const laptop = await pod.laptop(laptopProcess('alice'));
  await laptop.claim(8131);
  const open = /:(?<port>155\d\d)\b/u;
  const port = Number(open.exec((await listening()).split('\n').find((line) => open.test(line)) ?? '')?.groups?.['port']);
  const before = await ownPortDials();
  t.is(await failureOf(pod.call(port)), 'ECONNRESET');
  t.is(await failureOf(pod.call(port, podAddress6)), 'ECONNRESET');
  t.is(await failureOf(pod.namespace.connect({ host: '127.0.0.1', port })), 'ECONNRESET');
  t.is(await failureOf(pod.namespace.connect({ host: podAddress, port })), 'ECONNRESET');
  t.true((await ownPortDials()) >= before + 4);
  await laptop.session.close();
});

async function ownPortDials(): Promise<number> {
  const socket = await pod.call(15_320);
  socket.write('GET /metrics HTTP/1.0\r\n\r\n');
  return Number(/^kpeering_own_port_dials_total (\d+)$/mu.exec(await textOf(socket))?.[1]);
}
