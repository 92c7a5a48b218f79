import test from 'ava';
import type { AssociationResult } from '../../../src/forwarder/index.ts';
import { DatagramRecorder } from '../../unit/tunnel/datagram-recorder.ts';
import { Pod, podAddress, tproxy } from './pod.ts';
import { answerAs, app, ask, askUntil, caller, laptopWith, localServer, udp } from './udp-peers.ts';

const port = 5353;
const environment = { ...tproxy, KPEERING_INBOUND_UDP_PORTS: String(port) };

test('a sidecar that is killed leaves its UDP to the app, from the next datagram on', async (t) => {
  await using pod = await Pod.start([], environment);
  await app(pod, port);
  const laptop = await laptopWith(pod, await localServer(t, (socket) => answerAs(socket, 'laptop')));
  await laptop.claim(udp(port));
  const from = await caller(pod, port);
  t.is(await ask(from, port, 'one'), 'laptop:one');
  await pod.sidecar.terminate(pod.namespace, 'KILL');
  await pod.sidecar.exited;
  t.is(await ask(from, port, 'two'), 'app:two');
});

test('associations do not hold up the end of a pod: its UDP is the app again, and the sidecar ends at once', async (t) => {
  await using pod = await Pod.start(['--drain-seconds', '3600'], environment);
  await app(pod, port);
  const results: Promise<AssociationResult>[] = [];
  const laptop = await laptopWith(pod, await localServer(t, (socket) => answerAs(socket, 'laptop')), [], results);
  await laptop.claim(udp(port));
  const from = await caller(pod, port);
  t.is(await ask(from, port, 'one'), 'laptop:one');
  await app(pod, 5400);
  const dialled = laptop.session.openAssociation({ kind: 'dial', destination: { address: podAddress, port: 5400 } });
  const answers = new DatagramRecorder(dialled);
  dialled.send(Buffer.from('x'));
  await answers.count(1);
  await pod.sidecar.terminate(pod.namespace);
  t.is(await pod.sidecar.exited, 0);
  await laptop.session.ended;
  t.is((await answers.ended).kind, 'session-lost');
  t.is((await results[0])?.kind, 'ended');
  await askUntil(from, port, 'two', 'app:two');
});
