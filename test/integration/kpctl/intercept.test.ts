import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import type { Running } from '../../../src/kpctl/demo/processes.ts';
import { runProgram } from '../../../src/lab/run.ts';
import { findProgram } from '../../../src/platform/programs.ts';
import { labSuite } from '../../harness/lab-suite.ts';
import { deployment, service } from './manifests.ts';
import { assertRefused, endOf, eventually, messages, portOf, Stage } from './stage.ts';

const test = await labSuite(
  import.meta.filename,
  async () => await Stage.open(deployment({ name: 'web', replicas: 2 }) + service('web') + deployment({ name: 'api' }) + service('api')),
);

const everything = { name: 'bob', rules: [{ verbs: ['*'], resources: ['*'] }] };

/** Ends an intercept as Ctrl-C does. */
async function interrupt(intercept: Running): Promise<void> {
  intercept.kill('SIGINT');
  assert.equal((await intercept.exited).code, 130);
}

/** A caller's connection through an intercept, and the laptop's end of it, with one line said each way. */
async function conversation(stage: Stage, pod: string, port = 8080): Promise<{ caller: Socket; laptop: Socket; intercept: Running }> {
  const server = await stage.laptop.listen({ host: '127.0.0.1', port: 0 });
  const intercept = await stage.intercept([`pod/${pod}`, '--port', `${portOf(server)}:${port}`]);
  const accepted = once(server, 'connection');
  const caller = await stage.caller.connect({ host: stage.address(pod), port });
  caller.on('error', () => undefined); // `endOf` tells it
  caller.write('hello\n');
  const [laptop] = z.tuple([z.custom<Socket>()]).parse(await accepted);
  laptop.on('error', () => undefined);
  assert.equal(String((await once(laptop, 'data'))[0]), 'hello\n');
  laptop.write('hi\n');
  assert.equal(String((await once(caller, 'data'))[0]), 'hi\n');
  server.close();
  return { caller, laptop, intercept };
}

test('one line per pod, then ready; callers of every pod and of the Service reach the laptop', async (stage) => {
  const server = await stage.laptopServer('laptop');
  await using intercept = await stage.intercept(['web', '--port', `${portOf(server)}:http`]);
  const pods = stage.pods('web');
  assert.deepEqual(intercept.lines.toSorted(), [...pods.map((pod) => `${pod} :8080 → 127.0.0.1:${portOf(server)}`), 'ready'].toSorted());
  assert.equal(intercept.lines.at(-1), 'ready');
  for (const pod of pods) assert.equal(await stage.call(stage.address(pod), 8080), 'laptop');
  for (let calls = 0; calls < 4; calls++) assert.equal(await stage.call('web', 80), 'laptop');
  assert.match(await stage.call('api', 80), /^server on api-/);
  await interrupt(intercept);
  for (const pod of pods) assert.equal(await stage.call(stage.address(pod), 8080), `server on ${pod} is well`);
  server.close();
});

test('service/NAME: a Service port by number or name, mapped through targetPort; several ports at once', async (stage) => {
  const [one, two] = [await stage.laptopServer('one'), await stage.laptopServer('two')];
  await using intercept = await stage.intercept(['svc/web', '-p', `${portOf(one)}:80`, '-p', `${portOf(two)}:second`]);
  const [pod = ''] = stage.pods('web');
  assert.ok(intercept.lines.includes(`${pod} :8080 → 127.0.0.1:${portOf(one)}`), intercept.lines.join('\n'));
  assert.ok(intercept.lines.includes(`${pod} :9090 → 127.0.0.1:${portOf(two)}`), intercept.lines.join('\n'));
  assert.equal(await stage.call('web', 80), 'one');
  assert.equal(await stage.call('web', 81), 'two');
  await interrupt(intercept);
  one.close();
  two.close();
});

test('without LOCAL the local port is that of REMOTE; a server on ::1 alone is reached, too', async (stage) => {
  const server = await stage.laptopServer('six', 8080, '::1');
  await using intercept = await stage.intercept(['deploy/api', '--port', 'http']);
  assert.deepEqual(intercept.lines, [`${stage.pods('api')[0]} :8080 → 127.0.0.1:8080`, 'ready']);
  assert.equal(await stage.call('api', 80), 'six');
  await interrupt(intercept);
  server.close();
});

test('-o json and yaml: the same as events, with nothing else on stdout', async (stage) => {
  const server = await stage.laptopServer('laptop');
  const [pod] = stage.pods('api');
  const claimed = { event: 'claimed', pod, protocol: 'tcp', port: 8080, local: portOf(server) };
  await using json = stage.start(['intercept', 'api', '-p', `${portOf(server)}:http`, '-o', 'json']);
  await json.waitForLine(/"ready"/);
  json.kill('SIGTERM');
  const lines = (await json.exited).stdout.trim().split('\n');
  assert.deepEqual(
    lines.map((line): unknown => JSON.parse(line)),
    [claimed, { event: 'ready' }],
  );
  await using yaml = stage.start(['intercept', 'api', '-p', `${portOf(server)}:http`, '-o', 'yaml']);
  await yaml.waitForLine(/ready/);
  yaml.kill('SIGINT');
  const documents = (await yaml.exited).stdout.split('---\n').slice(1);
  assert.deepEqual(
    documents.map((text): unknown => parse(text)),
    [claimed, { event: 'ready' }],
  );
  server.close();
});

test('half-close and reset pass in both directions', async (stage) => {
  const [pod = ''] = stage.pods('api');
  const first = await conversation(stage, pod);
  first.caller.end('bye\n');
  assert.equal(String((await once(first.laptop, 'data'))[0]), 'bye\n');
  await once(first.laptop, 'end');
  first.laptop.end('last word\n');
  assert.equal(String((await once(first.caller, 'data'))[0]), 'last word\n');
  await once(first.caller, 'end');
  await interrupt(first.intercept);
  const second = await conversation(stage, pod);
  second.laptop.resetAndDestroy();
  assert.equal(await endOf(second.caller), 'ECONNRESET');
  await interrupt(second.intercept);
  const third = await conversation(stage, pod);
  third.caller.resetAndDestroy();
  assert.equal(await endOf(third.laptop), 'ECONNRESET');
  await interrupt(third.intercept);
});

test('all connections are cut: open streams are reset, kpctl reconnects and claims again, and says both', async (stage) => {
  const [pod = ''] = stage.pods('api');
  const { caller, laptop, intercept } = await conversation(stage, pod);
  await using _intercept = intercept;
  const server = await stage.laptopServer('again', Number(/:(\d+)$/.exec(intercept.lines[0] ?? '')?.[1]));
  const ends = Promise.all([endOf(caller), endOf(laptop)]);
  stage.lab.api.disconnect();
  assert.deepEqual(await ends, ['ECONNRESET', 'ECONNRESET']);
  await intercept.waitForLine(new RegExp(`^${pod}: the tunnel was lost \\(.*\\), open connections were reset; reconnecting$`));
  await intercept.waitForLine(new RegExp(`^${pod}: reconnected$`));
  await intercept.waitForLine(new RegExp(`^${pod}: port 8080 is claimed again$`));
  assert.equal(await stage.call('api', 80), 'again');
  await interrupt(intercept);
  server.close();
});

test('an API server that refuses for longer than the grace: the app answers, and kpctl is back when it is', async (stage) => {
  const nft = findProgram('nft') ?? 'nft';
  const server = await stage.laptopServer('laptop');
  await using intercept = await stage.intercept(['api', '--port', `${portOf(server)}:http`]);
  const refuse =
    'add table inet refuse; add chain inet refuse in { type filter hook input priority 0; }; add rule inet refuse in tcp dport 6443 reject with tcp reset';
  assert.equal((await runProgram([nft, refuse])).code, 0);
  stage.lab.api.disconnect();
  const cut = performance.now();
  await intercept.waitForLine(/the tunnel was lost/);
  // held back for the laptop, then the app's: never refused
  assert.match(await stage.call('api', 80), /^server on api-/);
  const waited = performance.now() - cut;
  assert.ok(waited > 6_000 && waited < 11_000, `the caller waited ${waited} ms`);
  assert.equal((await runProgram([nft, 'delete table inet refuse'])).code, 0);
  await intercept.waitForLine(/: port 8080 is claimed again$/);
  assert.equal(await stage.call('api', 80), 'laptop');
  // said once, not with every attempt
  const about = (text: string): number => intercept.lines.filter((line) => line.includes(text)).length;
  assert.deepEqual([about('the tunnel was lost'), about('not connected yet, trying on: '), about('[API_UNREACHABLE]')], [1, 1, 1]);
  await interrupt(intercept);
  server.close();
});

test('somebody else took the claim meanwhile: it says who, waits, and has it again when that one leaves', async (stage) => {
  const [mine, his] = [await stage.laptopServer('mine'), await stage.laptopServer('his')];
  const bob = await stage.lab.addUser(everything);
  await using intercept = await stage.intercept(['api', '--port', `${portOf(mine)}:http`]);
  // a laptop that sleeps: its claim ends with the grace
  intercept.kill('SIGSTOP');
  await eventually('the app answers', async () => (await stage.call('api', 80)).startsWith('server on'), 30_000);
  await using other = await stage.intercept(['api', '--port', `${portOf(his)}:http`], { kubeconfig: bob });
  intercept.kill('SIGCONT');
  await intercept.waitForLine(
    /: port 8080 was claimed meanwhile by \S+@laptop \(API user "bob"\) since \d{4}-.*; waiting until it is free$/,
  );
  assert.equal(await stage.call('api', 80), 'his');
  await interrupt(other);
  await intercept.waitForLine(/: port 8080 is claimed again$/);
  assert.equal(await stage.call('api', 80), 'mine');
  await interrupt(intercept);
  mine.close();
  his.close();
});

test('a pod that takes the place of another one is intercepted, too', async (stage) => {
  const server = await stage.laptopServer('laptop');
  await using intercept = await stage.intercept(['api', '--port', `${portOf(server)}:http`]);
  const [old = ''] = stage.pods('api');
  stage.lab.deletePod('default', old);
  await intercept.waitForLine(new RegExp(`^${old}: the pod is gone$`));
  const joined = await intercept.waitForLine(/: a new pod; its port 8080 is claimed$/);
  await stage.lab.waitReady();
  const [pod = ''] = stage.pods('api');
  assert.equal(joined, `${pod}: a new pod; its port 8080 is claimed`);
  assert.equal(await stage.call('api', 80), 'laptop');
  await interrupt(intercept);
  assert.equal(await stage.call('api', 80), `server on ${pod} is well`);
  server.close();
});

test('Ctrl-C: new callers go to the app at once, an active connection may finish, exit code 130', async (stage) => {
  const [pod = ''] = stage.pods('api');
  const { caller, laptop, intercept } = await conversation(stage, pod);
  intercept.kill('SIGINT');
  await intercept.waitForLine(/^stopped claiming; 1 active connection has 5 s to end$/);
  await eventually('the app answers', async () => (await stage.call('api', 80)) === `server on ${pod} is well`, 2_000);
  laptop.end('the rest\n');
  assert.equal(String((await once(caller, 'data'))[0]), 'the rest\n');
  caller.end();
  const outcome = await intercept.exited;
  assert.equal(outcome.code, 130);
  assert.deepEqual(messages(outcome).others, ['stopped claiming; 1 active connection has 5 s to end']);
});

test('Ctrl-C: a connection that does not finish is reset after 5 s', async (stage) => {
  const { caller, intercept } = await conversation(stage, stage.pods('api')[0] ?? '');
  const began = performance.now();
  intercept.kill('SIGINT');
  assert.equal(await endOf(caller), 'ECONNRESET');
  assert.equal((await intercept.exited).code, 130);
  const took = performance.now() - began;
  assert.ok(took > 4_900 && took < 7_500, `it took ${took} ms`);
});

test('a second Ctrl-C exits at once', async (stage) => {
  const { caller, intercept } = await conversation(stage, stage.pods('api')[0] ?? '');
  intercept.kill('SIGINT');
  await intercept.waitForLine(/^stopped claiming/);
  const began = performance.now();
  intercept.kill('SIGINT');
  assert.equal((await intercept.exited).code, 130);
  assert.ok(performance.now() - began < 1_000);
  assert.equal(await endOf(caller), 'ECONNRESET');
});

test('Ctrl-C while it starts: exit code 130, and nothing is called a failure', async (stage) => {
  const silent = await stage.laptop.listen({ host: '127.0.0.1', port: 0 });
  silent.on('connection', (socket: Socket) => socket.on('error', () => undefined));
  const kubeconfig = join(stage.folder(), 'config');
  const config = {
    'current-context': 'silent',
    clusters: [{ name: 'silent', cluster: { server: `http://127.0.0.1:${portOf(silent)}` } }],
    contexts: [{ name: 'silent', context: { cluster: 'silent' } }],
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
  const commands = [
    ['intercept', 'web', '--port', '80'],
    ['run', '-w', 'web', '--', 'true'],
  ];
  for (const words of commands) {
    const asked = once(silent, 'connection');
    await using starting = stage.start(words, { kubeconfig });
    await asked;
    starting.kill('SIGINT');
    assert.deepEqual(await starting.exited, { code: 130, stdout: '', stderr: '' });
  }
  silent.close();
});

test('leave: ends the intercept from another terminal, with exit code 0; leaving nothing is a failure', async (stage) => {
  const server = await stage.laptopServer('laptop');
  assertRefused(
    await stage.kpctl(['leave', 'web']),
    1,
    /no kpctl of this user intercepts web; nothing is intercepted.*\[NOT_INTERCEPTED\]$/,
  );
  await using intercept = await stage.intercept(['api', '--port', `${portOf(server)}:http`]);
  assertRefused(await stage.kpctl(['leave', 'web']), 1, /intercepts web; intercepted now: deployment\/api in default \[NOT_INTERCEPTED\]$/);
  assertRefused(await stage.kpctl(['leave', 'api', '-n', 'elsewhere']), 1, /\[NOT_INTERCEPTED\]$/);
  const left = await stage.kpctl(['leave', 'deploy/api']);
  assert.deepEqual({ ...left, stderr: '' }, { code: 0, stdout: `left deployment/api in default (process ${intercept.pid})\n`, stderr: '' });
  assert.equal((await intercept.exited).code, 0);
  assert.match(await stage.call('api', 80), /^server on api-/);
  server.close();
});

const listSchema = z.array(
  z.looseObject({
    namespace: z.string(),
    workload: z.string(),
    ready: z.int(),
    desired: z.int(),
    sidecar: z.string(),
    ports: z.array(z.looseObject({ name: z.string().optional(), port: z.int() })),
    claims: z.array(z.looseObject({ pod: z.string(), claims: z.array(z.looseObject({ port: z.int(), holder: z.looseObject({}) })) })),
  }),
);

test('list: workloads, ready pods, ports, sidecar, and who claims what since when', async (stage) => {
  const server = await stage.laptopServer('laptop');
  await stage.lab.createNamespace('shop');
  await stage.lab.apply(deployment({ name: 'till', sidecar: false, container: 'image: "lab/sh:dev", args: ["exec sleep 1000"]' }), 'shop');
  await stage.lab.waitReady();
  const bob = await stage.lab.addUser(everything);
  await using intercept = await stage.intercept(['api', '--port', `${portOf(server)}:http`], { kubeconfig: bob });
  const { code, stdout, stderr } = await stage.kpctl(['list']);
  assert.equal(code, 0, stderr);
  const lines = stdout.trim().split('\n');
  assert.match(lines[0] ?? '', /^WORKLOAD +READY +PORTS +SIDECAR +CAPTURE +CLAIMED BY$/);
  assert.match(
    lines[1] ?? '',
    /^deployment\/api +1\/1 +http:8080,other:9090 +by hand +redirect +:8080 \S+@laptop \(bob\) since \d{4}-\d\d-\d\dT\S+Z$/,
  );
  assert.match(lines[2] ?? '', /^deployment\/caller +1\/1 +- +none +- +-$/);
  assert.match(lines[3] ?? '', /^deployment\/web +2\/2 +http:8080,other:9090 +by hand +redirect +-$/);
  assert.equal(lines.length, 4);
  const all = listSchema.parse(JSON.parse((await stage.kpctl(['list', '-A', '-o', 'json'])).stdout));
  assert.deepEqual(
    all.map(({ namespace, workload, sidecar }) => [namespace, workload, sidecar]),
    [
      ['default', 'deployment/api', 'by hand'],
      ['default', 'deployment/caller', 'none'],
      ['default', 'deployment/web', 'by hand'],
      ['shop', 'deployment/till', 'none'],
    ],
  );
  const [claim] = all[0]?.claims[0]?.claims ?? [];
  assert.equal(claim?.port, 8080);
  assert.equal(claim?.holder['user'], 'bob');
  const shop = await stage.kpctl(['list', '-n', 'shop', '-o', 'yaml']);
  assert.equal(listSchema.parse(parse(shop.stdout)).length, 1);
  assert.match((await stage.kpctl(['list', '-A'])).stdout, /^NAMESPACE +WORKLOAD[\s\S]*\nshop +deployment\/till/);
  assert.equal((await stage.kpctl(['list', '-n', 'empty'])).stdout, 'no workloads in namespace empty\n');
  await interrupt(intercept);
  server.close();
});

const statusSchema = z.array(
  z.looseObject({
    pid: z.int(),
    kind: z.string(),
    workload: z.string().optional(),
    command: z.array(z.string()).optional(),
    ports: z.array(z.object({ remote: z.string(), local: z.int(), protocol: z.string() })),
    outbound: z.array(z.object({ remote: z.string(), local: z.int() })),
    pods: z.array(
      z.looseObject({ name: z.string(), tunnel: z.string(), claimed: z.array(z.object({ protocol: z.string(), port: z.int() })) }),
    ),
  }),
);

test('status: intercepts and runs with pods, ports and tunnels; what a killed kpctl left is removed', async (stage) => {
  assert.equal((await stage.kpctl(['status'])).stdout, 'nothing is intercepted and nothing runs\n');
  const server = await stage.laptopServer('laptop');
  const port = portOf(server);
  await using intercept = await stage.intercept(['web', '--port', `${port}:http`]);
  await using running = stage.start(['run', '-w', 'api', '--', 'sh', '-c', 'echo started; exec sleep 1000']);
  await running.waitForLine(/^started$/);
  const reports = statusSchema.parse(JSON.parse((await stage.kpctl(['status', '-o', 'json'])).stdout));
  const [first, second] = reports;
  assert.equal(reports.length, 2);
  const pod = (name: string) => ({ name, namespace: 'default', tunnel: 'up', claimed: [{ protocol: 'tcp', port: 8080 }], activeFlows: 0 });
  assert.deepEqual(
    // a probe of the kubelet may be on its way
    { ...first, version: '', since: '', pods: first?.pods.map((one) => ({ ...one, activeFlows: 0 })) },
    {
      pid: intercept.pid,
      kind: 'intercept',
      version: '',
      since: '',
      context: 'lab',
      server: 'https://172.30.0.1:6443',
      namespace: 'default',
      transport: 'spdy',
      workload: 'deployment/web',
      ports: [{ remote: 'http', local: port, protocol: 'tcp' }],
      outbound: [],
      pods: stage.pods('web').map(pod),
    },
  );
  assert.equal(second?.kind, 'run');
  assert.equal(second?.workload, 'deployment/api');
  assert.deepEqual(second?.command, ['sh', '-c', 'echo started; exec sleep 1000']);
  assert.deepEqual(
    second?.pods.map(({ name, tunnel }) => [name, tunnel]),
    [[stage.pods('api')[0], 'up']],
  );
  assert.deepEqual(statusSchema.parse(parse((await stage.kpctl(['status', '-o', 'yaml'])).stdout)), reports);
  const { stdout } = await stage.kpctl(['status']);
  assert.match(stdout, /^PID +KIND +CONTEXT +NAMESPACE +WORKLOAD +PORTS +POD +TUNNEL/);
  assert.match(
    stdout,
    new RegExp(`${intercept.pid} +intercept +lab +default +deployment/web +${port}:http +${stage.pods('web')[0]} +up +8080`),
  );

  // lost, as it is for as long as the API server is away
  const sockets = (): string[] => readdirSync(join(stage.environment['XDG_RUNTIME_DIR'] ?? '', 'kpctl'));
  assert.equal(sockets().length, 2);
  intercept.kill('SIGKILL');
  await intercept.exited;
  assert.equal(sockets().length, 2);
  assert.equal(statusSchema.parse(JSON.parse((await stage.kpctl(['status', '-o', 'json'])).stdout)).length, 1);
  assert.equal(sockets().length, 1);
  running.kill('SIGTERM');
  await running.exited;
  assert.equal(sockets().length, 0);
  server.close();
});

test('200 parallel connections through one intercept, each 1 MiB both ways: all bytes are equal', async (stage) => {
  const size = 1024 * 1024;
  const server = await stage.laptop.listen({ host: '127.0.0.1', port: 0 });
  server.on('connection', (socket: Socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  await using intercept = await stage.intercept(['api', '--port', `${portOf(server)}:http`]);
  const address = stage.address(stage.pods('api')[0] ?? '');
  const exchange = async (): Promise<boolean> => {
    const sent = randomBytes(size);
    const socket = await stage.caller.connect({ host: address, port: 8080 });
    const hash = createHash('sha256');
    let length = 0;
    socket.end(sent);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      hash.update(chunk);
      length += chunk.length;
    }
    return length === size && hash.digest('hex') === createHash('sha256').update(sent).digest('hex');
  };
  const results = await Promise.all(Array.from({ length: 200 }, exchange));
  assert.equal(results.filter(Boolean).length, 200);
  await interrupt(intercept);
  server.close();
});

test('a token that expires meanwhile: open tunnels go on, and a reconnect that is refused says why', async (stage) => {
  const server = await stage.laptopServer('laptop');
  const kubeconfig = await stage.lab.addUser({ ...everything, name: 'carol' });
  await using intercept = await stage.intercept(['api', '--port', `${portOf(server)}:http`], { kubeconfig });
  stage.lab.revoke('carol');
  assert.equal(await stage.call('api', 80), 'laptop');
  stage.lab.api.disconnect();
  await intercept.waitForLine(/: not connected yet, trying on: .*\(401.*log in again.*\[API_UNAUTHORIZED\]$/);
  // it cannot say goodbye: its claim waits for it as long as the grace
  await interrupt(intercept);
  assertRefused(
    await stage.kpctl(['intercept', 'api', '--port', '1:http']),
    1,
    /API user "carol".*\(that laptop is not connected now\); try again in ten seconds.*\[PORT_HELD\]$/,
    [/nothing listens/],
  );
  server.close();
});
