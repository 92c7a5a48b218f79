import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { labSuite } from '../../harness/lab-suite.ts';
import { deployment } from './manifests.ts';
import { Stage } from './stage.ts';

const node = process.execPath;
/** A pod that sends every datagram back, and is ready when it listens. */
const echo = `const s = require('dgram').createSocket({ type: 'udp4', recvBufferSize: 4194304 });
  s.on('message', (m, from) => s.send(m, from.port, from.address)).bind(5300, () => require('net').createServer((c) => c.end()).listen(5300));`;
const container = `image: "lab/sh:dev", args: [${JSON.stringify(`exec ${node} -e "${echo}"`)}], readinessProbe: { tcpSocket: { port: 5300 }, periodSeconds: 1 }`;

const test = await labSuite(import.meta.filename, async () => {
  const stage = await Stage.open(deployment({ name: 'echo', sidecar: false, container }) + deployment({ name: 'web' }));
  await stage.lab.apply(readFileSync(new URL('../../../deploy/gateway.yaml', import.meta.url), 'utf8'));
  await stage.lab.waitReady();
  return stage;
});

/** COMMAND: sends datagrams of these sizes to a pod, one at a time, and says which came back whole. */
function client(address: string, port: number): string[] {
  const text = `
    import { createSocket } from 'node:dgram'; import { once } from 'node:events'; import { randomBytes } from 'node:crypto';
    const socket = createSocket('udp4'); socket.connect(${port}, '${address}'); await once(socket, 'connect');
    const whole = [];
    try {
      for (const size of [0, 1, 1200, 20000, 65507]) {
        const payload = randomBytes(size); socket.send(payload);
        const [answer] = await once(socket, 'message');
        if (answer.equals(payload)) whole.push(size);
      }
      console.log(whole.join());
    } catch (error) { console.log(error.code); }
    socket.close();`;
  return [node, '--input-type=module', '-e', text];
}

test('a datagram goes through the gateway, and through a sidecar with -w, whole in both directions', async (stage) => {
  const [pod = ''] = stage.pods('echo');
  for (const exit of [[], ['-w', 'web']]) {
    const outcome = await stage.kpctl(['run', ...exit, '--', ...client(stage.address(pod), 5300)]);
    assert.deepEqual(outcome, { code: 0, stdout: '0,1,1200,20000,65507\n', stderr: outcome.stderr });
  }
});

test('a port of a pod on which nobody listens is ECONNREFUSED, and told', async (stage) => {
  const [pod = ''] = stage.pods('echo');
  const outcome = await stage.kpctl(['run', '--', ...client(stage.address(pod), 5301)]);
  assert.equal(outcome.stdout, 'ECONNREFUSED\n');
  assert.match(outcome.stderr, /UDP to \S+:5301 through the cluster: refused/);
});
