import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Running } from '../../../src/kpctl/demo/processes.ts';
import { labSuite } from '../../harness/lab-suite.ts';
import { deployment, service } from './manifests.ts';
import { eventually, portOf, Stage } from './stage.ts';

const node = process.execPath;
/** A pod that sends every datagram back. */
const echo = `const s = require('dgram').createSocket('udp4'); s.on('message', (m, from) => s.send(m, from.port, from.address)).bind(5300, () => require('net').createServer((c) => c.end()).listen(5300));`;
const container = `image: "lab/sh:dev", args: [${JSON.stringify(`exec ${node} -e "${echo}"`)}], readinessProbe: { tcpSocket: { port: 5300 }, periodSeconds: 1 }`;

const test = await labSuite(import.meta.filename, async () => {
  const stage = await Stage.open(deployment({ name: 'web' }) + service('web') + deployment({ name: 'echo', sidecar: false, container }));
  await stage.lab.apply(readFileSync(new URL('../../../deploy/gateway.yaml', import.meta.url), 'utf8'));
  await stage.lab.waitReady();
  return stage;
});

const flowSchema = z.object({
  event: z.string().optional(),
  kpctl: z.object({ pid: z.int(), kind: z.string() }),
  direction: z.string(),
  protocol: z.string(),
  process: z.object({ pid: z.int().optional(), name: z.string().optional(), user: z.string().optional() }).nullable(),
  destination: z.object({ address: z.string(), port: z.int() }),
  name: z.string().optional(),
  asked: z.string().optional(),
  via: z.string(),
  pod: z.string().optional(),
  state: z.string(),
  sent: z.int(),
  received: z.int(),
  ageSeconds: z.number(),
  why: z.string().optional(),
});
type FlowFields = z.infer<typeof flowSchema>;

async function flowsOf(stage: Stage): Promise<FlowFields[]> {
  const { stdout, stderr, code } = await stage.kpctl(['flows', '-o', 'json']);
  assert.deepEqual([code, stderr], [0, '']);
  return z.array(flowSchema).parse(JSON.parse(stdout));
}

/** COMMAND: says hello to web and keeps the connection, and has a datagram sent back; prints its own pid. */
function talker(udp: string): string[] {
  const text = `
    import { connect } from 'node:net'; import { createSocket } from 'node:dgram'; import { once } from 'node:events';
    const socket = connect(80, 'web'); await once(socket, 'connect'); socket.write('GET / HTTP/1.1\\r\\n'); socket.resume();
    const datagrams = createSocket('udp4'); datagrams.send('0123456789', 5300, '${udp}'); await once(datagrams, 'message');
    console.log('pid ' + process.pid); process.stdin.resume();`;
  return [node, '--input-type=module', '-e', text];
}

async function pidOf(running: Running): Promise<number> {
  return Number((await running.waitForLine(/^pid \d+$/)).slice(4));
}

test('flows of a command are listed with its process in the private network, names, bytes, state and pod', async (stage) => {
  const [udp = ''] = stage.pods('echo').map((pod) => stage.address(pod));
  await using run = stage.start(['run', '--', ...talker(udp)]);
  const pid = await pidOf(run);
  const flows = await flowsOf(stage);
  const tcp = flows.find(({ protocol }) => protocol === 'tcp');
  assert.deepEqual(tcp?.process, { pid, name: 'node' });
  const { name, asked, via, direction, state, sent } = tcp;
  assert.deepEqual(
    { name, asked, via, direction, state, sent },
    { name: 'web.default', asked: 'web.default.svc.cluster.local', via: 'cluster', direction: 'out', state: 'open', sent: 16 },
  );
  assert.match(tcp.pod ?? '', /^default\/kpeering-gateway-/);
  const datagrams = flows.find(({ protocol }) => protocol === 'udp');
  assert.deepEqual([datagrams?.process, datagrams?.sent, datagrams?.received, datagrams?.state], [{ pid, name: 'node' }, 10, 10, 'open']);

  const table = (await stage.kpctl(['flows'])).stdout;
  assert.match(table, /^PROCESS +PID +DIR +PROTO +PEER +SENT +RECEIVED +STATE +AGE +POD +KPCTL\n/);
  assert.match(
    table,
    new RegExp(`^node +${pid} +out +tcp +web\\.default:80 +16 B +0 B +open +\\d+s +kpeering-gateway-\\S+ +run \\d+$`, 'm'),
  );
  run.kill('SIGTERM');
  await run.exited;
  assert.equal((await stage.kpctl(['flows'])).stdout, 'no kpctl run, intercept or up is running\n');
});

test('--watch tells each beginning and end, also of commands that are started later', async (stage) => {
  await using watch = stage.start(['flows', '--watch', '-o', 'json']);
  await using lines = stage.start(['flows', '--watch']);
  const { code } = await stage.kpctl(['run', '--', ...stage.example, 'get', 'http://web/status']);
  assert.equal(code, 0);
  const ended = flowSchema.parse(JSON.parse(await watch.waitForLine(/"event":"ended"/)));
  assert.equal(ended.name, 'web.default');
  assert.ok(ended.sent > 10 && ended.received > 10, JSON.stringify(ended));
  assert.equal(ended.state, 'ended');
  await lines.waitForLine(/^ended tcp .*to web\.default:80, by kpeering-gateway-\S+: [\d.]+ \S+ sent, /);
  watch.kill('SIGINT');
  lines.kill('SIGINT');
  assert.equal((await watch.exited).code, 130);
});

test("calls of a claimed port are listed with the developer's server, TCP and its callers", async (stage) => {
  const server = await stage.laptop.listen({ host: '127.0.0.1', port: 0 });
  server.on('connection', (socket) => void socket.on('error', () => undefined).write('hi'));
  await using _intercept = await stage.intercept(['web', '--port', `${portOf(server)}:8080`, '--no-proof']);
  const socket = await stage.caller.connect({ host: 'web', port: 80 });
  socket.on('error', () => undefined).resume();
  socket.write('hello');
  let flow: FlowFields | undefined;
  await eventually('the call is listed', async () => {
    flow = (await flowsOf(stage)).find(({ direction, sent, received }) => direction === 'in' && sent === 2 && received === 5);
    return flow !== undefined;
  });
  assert.equal(flow?.kpctl.kind, 'intercept');
  assert.equal(flow.process?.pid, process.pid);
  assert.match(flow.pod ?? '', /^default\/web-/);
  socket.destroy();
  server.close();
});
