import { once } from 'node:events';
import { createServer } from 'node:net';
import test from 'ava';
import { assumedRules } from '../../../../src/interceptor/rules-file.ts';
import { Sidecar } from '../../../../src/kpeering/sidecar.ts';
import { captureCheck } from '../../../../src/kpctl/doctor/checks/capture.ts';
import { sidecarsCheck } from '../../../../src/kpctl/doctor/checks/sidecars.ts';
import { transportCheck } from '../../../../src/kpctl/doctor/checks/transport.ts';
import { silentLogger } from '../../../../src/platform/log.ts';
import { ports } from '../../../../src/platform/ports.ts';
import { portOf } from '../../tunnel/pair.ts';
import { healthy, lines, look, pod, type Imitation } from './imitation.ts';

const { objects } = healthy;

async function startSidecar(): Promise<Sidecar> {
  const options = { inboundPort: 0, tunnelPort: 0, healthHost: '127.0.0.1', healthPort: 0, name: 'shop/web-1', log: silentLogger };
  return await Sidecar.start({ ...options, capture: { rules: assumedRules(0, 'a test') } });
}

function reaching(sidecar: Sidecar, pods: readonly object[]): Imitation {
  return {
    objects: { ...objects, pods },
    ports: { [ports.tunnel]: sidecar.ports.tunnel, [ports.health]: sidecar.ports.health },
    transport: 'spdy',
  };
}

test('a sidecar that answers says how it captures; the operator has proved it', async (t) => {
  await using sidecar = await startSidecar();
  const proved = { type: 'kpeering.io/Captured', status: 'True', reason: 'Proved', lastProbeTime: '2026-01-01T00:01:00Z' };
  const failed = { ...proved, status: 'False', reason: 'NotCaptured', message: 'refused' };
  const pods = [
    pod('web-1', { sidecar: 'running', conditions: [proved] }),
    pod('web-2', { sidecar: 'running', conditions: [failed] }),
    pod('web-3', { sidecar: 'running' }),
  ];
  const alone = reaching(sidecar, pods.slice(0, 1));
  t.deepEqual(lines(await look(sidecarsCheck, alone)), ['ok pod web-1: its sidecar answers']);
  const [mode, proof] = lines(await look(captureCheck, alone));
  t.regex(mode ?? '', /^note pod web-1: redirect mode \(a test\), captures \*: every connection crosses the sidecar/);
  t.is(proof, 'ok pod web-1: a connection from outside has proved that its traffic is captured');
  const seen = lines(await look(captureCheck, { objects: { ...objects, pods: pods.slice(1) } }));
  t.is(seen[0], 'problem pod web-2: its traffic is not captured: refused');
  t.regex(seen[1] ?? '', /^unknown pod web-3: nobody has proved/);
});

test('a sidecar that does not run, one that is silent, and one that may not be reached', async (t) => {
  const down = await look(sidecarsCheck, { objects: { ...objects, pods: [pod('web-1', { sidecar: 'waiting' })] } });
  t.regex(lines(down)[0] ?? '', /^problem pod web-1: its sidecar does not run: the pod .*ImagePullBackOff/);
  const closing = createServer((socket) => socket.end()).listen(0, '127.0.0.1');
  await once(closing, 'listening');
  const silent = await look(sidecarsCheck, { ...healthy, ports: { [ports.tunnel]: portOf(closing), [ports.health]: portOf(closing) } });
  closing.close();
  t.regex(lines(silent)[0] ?? '', /^warning pod web-1: its sidecar does not answer: /);
  t.deepEqual(lines(await look(sidecarsCheck, healthy)), ['unknown pod web-1: you may not port-forward to it']);
});

test('a namespace without sidecars, and a workload that is not there', async (t) => {
  t.deepEqual(lines(await look(sidecarsCheck, { objects: { ...objects, pods: [pod('web-1')] } })), [
    'note none of the 1 pods of namespace shop has a sidecar',
  ]);
  t.regex(lines(await look(sidecarsCheck, { ...healthy, workload: 'deployment/nothing' }))[0] ?? '', /^problem .*nothing/);
});

test('a kpeering that was started again is a warning', async (t) => {
  const metrics = 'kpeering_restarts_total 2\n';
  const server = createServer((socket) => {
    socket.once('data', () => socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${metrics.length}\r\n\r\n${metrics}`));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  await using sidecar = await startSidecar();
  const cluster = reaching(sidecar, [pod('web-1', { sidecar: 'running' })]);
  const seen = lines(await look(sidecarsCheck, { ...cluster, ports: { ...cluster.ports, [ports.health]: portOf(server) } }));
  server.close();
  t.deepEqual(seen, [
    'ok pod web-1: its sidecar answers',
    'warning pod web-1: kpeering has ended unexpectedly and was started again 2 times',
  ]);
});

test('which transport is used, and which rights it needs', async (t) => {
  await using sidecar = await startSidecar();
  const cluster = reaching(sidecar, [pod('web-1', { sidecar: 'running' })]);
  const spdy = await look(transportCheck, { ...cluster, can: ({ verb }) => verb !== 'get' });
  t.deepEqual(lines(spdy), [
    'ok port-forwards go over SPDY, which needs create; you have pods/portforward: create, no get; without get there is no way out over WebSocket where SPDY is refused',
  ]);
  t.regex(lines(await look(transportCheck, { ...cluster, transport: 'websocket' }))[0] ?? '', /^note port-forwards go over WebSocket/);
  t.regex(lines(await look(transportCheck, { objects: {} }))[0] ?? '', /^unknown no sidecar here/);
  t.regex(lines(await look(transportCheck, { ...healthy, transport: undefined }))[0] ?? '', /^problem .*API_FORBIDDEN/);
});
