import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import test from 'ava';
import { answerAssociation, type AssociationResult } from '../../../src/forwarder/index.ts';
import { newSessionId, type IncomingAssociation, type OpenRequest } from '../../../src/tunnel/index.ts';
import { DatagramRecorder } from '../../unit/tunnel/datagram-recorder.ts';
import { Pod, podAddress, textOf, tproxy } from './pod.ts';
import { answerAs, app, ask, askUntil, caller, families, laptopWith, localServer, udp } from './udp-peers.ts';

let pod: Pod;
test.before(async () => {
  pod = await Pod.start(['--grace-seconds', '30'], { ...tproxy, KPEERING_INBOUND_UDP_PORTS: '5300-5320' });
});
test.after.always(async () => pod.close());

/** What /metrics says, asked from the node. */
async function metric(name: string): Promise<number> {
  const socket = await pod.call(15_320);
  socket.write('GET /metrics HTTP/1.0\r\n\r\n');
  const line = (await textOf(socket)).split('\n').find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}

for (const [index, family] of families.entries()) {
  test(`${family.family}: a caller reaches the app, the laptop while it claims the port, and the app again, from one socket`, async (t) => {
    const port = 5300 + index;
    await app(pod, port, family.any);
    const requests: OpenRequest[] = [];
    const results: Promise<AssociationResult>[] = [];
    const laptop = await laptopWith(pod, await localServer(t, (socket) => answerAs(socket, 'laptop')), requests, results);
    const from = await caller(pod, port, family);
    t.is(await ask(from, port, 'one'), 'app:one');
    t.deepEqual(await laptop.claim(udp(port)), { again: false });
    t.is(await ask(from, port, 'two'), 'laptop:two');
    t.is(await ask(from, port, 'three'), 'laptop:three');
    t.deepEqual(requests, [
      { kind: 'claimed', destination: { address: family.to, port }, source: { address: family.caller, port: from.port } },
    ]);
    const other = await caller(pod, port, family);
    t.is(await ask(other, port, 'four'), 'laptop:four');
    t.is(requests.length, 2);
    await laptop.release(udp(port));
    await askUntil(from, port, 'five', 'app:five');
    for (const result of await Promise.all(results)) t.true(result.kind === 'ended' && result.ended.kind === 'closed');
    await laptop.session.close();
  });

  test(`${family.family}: every datagram arrives whole, of every size up to 65,507 bytes`, async (t) => {
    const port = 5302 + index;
    const server = await localServer(t, (socket) => socket.on('message', (payload, from) => socket.send(payload, from.port, from.address)));
    const laptop = await laptopWith(pod, server);
    await laptop.claim(udp(port));
    const from = await caller(pod, port, family);
    const sizes = [0, 1, 1471, 1472, 1473, 9000, 65_507, ...Array.from({ length: 300 }, (_, each) => (each * 7919) % 65_508)];
    let wrong = 0;
    for (const [each, size] of sizes.entries()) {
      const payload = Buffer.alloc(size, each + 1);
      from.send(payload, port);
      if (!payload.equals(await from.answer())) wrong += 1;
    }
    t.is(wrong, 0);
    t.is(laptop.session.datagrams.dropped, 0);
    await laptop.session.close();
  });
}

test('no datagram is lost when a claim begins, however often', async (t) => {
  const port = 5307;
  await app(pod, port);
  const laptop = await laptopWith(pod, await localServer(t, (socket) => answerAs(socket, 'laptop')));
  const from = await caller(pod, port);
  for (let cycle = 0; cycle < 20; cycle += 1) {
    const claimed = laptop.claim(udp(port));
    // One at a time and each sent once: one that is lost would never be answered.
    for (let each = 0, last = ''; !last.startsWith('laptop:'); each += 1) {
      from.send(String(each), port);
      last = String(await from.answer());
    }
    await claimed;
    await laptop.release(udp(port));
    await askUntil(from, port, `back ${cycle}`, `app:back ${cycle}`);
  }
  await laptop.session.close();
  t.pass();
});

test('nothing is bound until a port is claimed, and nothing once that is over', async (t) => {
  const bound = async (): Promise<boolean> => (await pod.namespace.run('ss', ['-Huln', 'sport = :15510'])).includes(':15510');
  t.false(await bound());
  const laptop = await pod.laptop();
  await laptop.claim(udp(5310));
  t.true(await bound());
  await laptop.session.close();
  while (await bound());
  t.pass();
});

test('a port that is not captured cannot be claimed', async (t) => {
  const laptop = await pod.laptop();
  const error = await t.throwsAsync(laptop.claim(udp(5399)));
  t.regex(error?.message ?? '', /5399\/udp is not captured.*5300/u);
  await laptop.session.close();
});

test('while the holder is away datagrams are dropped; when it is back they go to it again', async (t) => {
  const port = 5304;
  await app(pod, port);
  const server = await localServer(t, (socket) => answerAs(socket, 'laptop'));
  const id = newSessionId();
  const target = server.address();
  const incomingAssociation = (incoming: IncomingAssociation): void => void answerAssociation(incoming, target);
  const first = await pod.laptop(undefined, { id }, { incomingAssociation });
  await first.claim(udp(port));
  const from = await caller(pod, port);
  t.is(await ask(from, port, 'one'), 'laptop:one');
  const labels = `{port="${port}",direction="to-laptop"}`;
  t.true((await metric(`kpeering_udp_datagrams_total${labels}`)) >= 1);
  await first.die();
  from.send('lost', port);
  while ((await metric(`kpeering_udp_dropped_total${labels}`)) < 1);
  t.is(await metric(`kpeering_udp_associations{port="${port}"}`), 0);
  const second = await pod.laptop(undefined, { id }, { incomingAssociation });
  t.deepEqual(await second.claim(udp(port)), { again: true });
  t.is(await ask(from, port, 'two'), 'laptop:two');
  await second.session.close();
});

test('a laptop without UDP, or one that refuses, costs the caller its datagrams and nothing else', async (t) => {
  const port = 5305;
  await app(pod, port);
  const laptop = await pod.laptop();
  await laptop.claim(udp(port));
  const from = await caller(pod, port);
  from.send('to nobody', port);
  await pod.sidecar.logs('the laptop refused datagrams');
  await laptop.release(udp(port));
  await askUntil(from, port, 'one', 'app:one');
  await laptop.session.close();
  t.pass();
});

test('a local process that is not there, and then is', async (t) => {
  const port = 5306;
  const server = await localServer(t, () => undefined);
  const target = server.address();
  const results: Promise<AssociationResult>[] = [];
  const nobody = createSocket('udp4').bind(0, '127.0.0.1');
  await once(nobody, 'listening');
  const absent = nobody.address();
  nobody.close();
  let to = absent;
  const laptop = await pod.laptop(undefined, {}, { incomingAssociation: (incoming) => void results.push(answerAssociation(incoming, to)) });
  await laptop.claim(udp(port));
  const from = await caller(pod, port);
  from.send('one', port);
  while (results.length === 0) await laptop.session.request('claims', {});
  const refused = await results[0];
  t.true(refused?.kind === 'ended' && refused.ended.kind === 'failed' && refused.ended.errorClass === 'refused');
  to = target;
  answerAs(server, 'laptop');
  t.is(await ask(from, port, 'two'), 'laptop:two');
  await laptop.session.close();
});

test('a datagram from port 0 is carried, its answer dropped and counted', async (t) => {
  const port = 5311;
  const heard: string[] = [];
  const server = await localServer(t, (socket) => {
    socket.on('message', (payload) => heard.push(String(payload)));
    answerAs(socket, 'laptop');
  });
  const laptop = await laptopWith(pod, server);
  await laptop.claim(udp(port));
  // Datagrams of four bytes lose the caller's port.
  const rules = `table ip sourceless {
    chain out {
      type filter hook output priority raw
      udp dport ${port} udp length 12 udp sport set 0
    }
  }`;
  await pod.node.run('nft', ['-f', '-'], { input: rules });
  const from = await caller(pod, port);
  from.send('zero', port);
  while ((await metric(`kpeering_udp_dropped_total{port="${port}",direction="from-laptop"}`)) < 1);
  t.is(await ask(from, port, 'one'), 'laptop:one');
  t.deepEqual(heard, ['zero', 'one']);
  await laptop.session.close();
});

for (const { family, to, any } of families) {
  test(`${family}: a laptop dials UDP in the pod's network, and is told when nobody listens`, async (t) => {
    await app(pod, 5319, any);
    const laptop = await pod.laptop();
    const { session } = laptop;
    const association = session.openAssociation({ kind: 'dial', destination: { address: to, port: 5319 } });
    const answers = new DatagramRecorder(association);
    association.send(Buffer.from('hello'));
    await answers.count(1);
    t.deepEqual(answers.texts, ['app:hello']);
    const deaf = session.openAssociation({ kind: 'dial', destination: { address: to, port: 5999 } });
    deaf.send(Buffer.from('hello?'));
    const end = await new DatagramRecorder(deaf).ended;
    t.true(end.kind === 'refused' && end.errorClass === 'refused', end.kind);
    await session.close();
  });
}

test("no laptop dials kpeering's own ports", async (t) => {
  const { session } = await pod.laptop();
  for (const port of [15_310, 15_320, 15_500, 15_599]) {
    const association = session.openAssociation({ kind: 'dial', destination: { address: podAddress, port } });
    const end = await new DatagramRecorder(association).ended;
    t.true(end.kind === 'refused' && end.errorClass === 'denied', String(port));
  }
  const claimed = session.openAssociation({
    kind: 'claimed',
    destination: { address: podAddress, port: 1 },
    source: { address: '::1', port: 1 },
  });
  const end = await new DatagramRecorder(claimed).ended;
  t.true(end.kind === 'refused' && end.errorClass === 'unsupported');
  await session.close();
});
