import assert from 'node:assert/strict';
import { once } from 'node:events';
import { parse } from 'yaml';
import { z } from 'zod';
import { start, type Running } from '../../../src/kpctl/demo/processes.ts';
import { labSuite } from '../../harness/lab-suite.ts';
import { Namespace } from '../../harness/namespaces.ts';
import { deployment, service } from './manifests.ts';
import { assertRefused, messages, portOf, Stage } from './stage.ts';

const test = await labSuite(import.meta.filename, async () => {
  const stage = await Stage.open(
    deployment({
      name: 'tp',
      replicas: 2,
      capture: {
        KPEERING_MODE: 'tproxy',
        KPEERING_INBOUND_PORTS: '8080,9000-9090',
        KPEERING_INBOUND_UDP_PORTS: '5353',
        KPEERING_OUTBOUND_PORTS: '80,8080',
      },
    }) +
      deployment({
        name: 'dns',
        container: 'image: "kpeering/examples:dev", args: [udp, "5353"], ports: [{ name: dns, containerPort: 5353, protocol: UDP }]',
        capture: { KPEERING_MODE: 'tproxy', KPEERING_INBOUND_UDP_PORTS: '5353' },
      }) +
      deployment({ name: 're', capture: { KPEERING_MODE: 'redirect', KPEERING_OUTBOUND_PORTS: '80' } }) +
      deployment({ name: 'dep', replicas: 2, sidecar: false }) +
      service('dep') +
      service('set', 'clusterIP: None,', 'dep'),
  );
  await stage.lab.createNamespace('lonely');
  await stage.lab.apply(deployment({ name: 'one' }), 'lonely');
  await stage.lab.waitReady();
  return stage;
});

async function interrupt(intercept: Running): Promise<void> {
  intercept.kill('SIGINT');
  assert.equal((await intercept.exited).code, 130);
}

test('tproxy: every pod is proved and claimed, and the app answers again afterwards; list tells the mode', async (stage) => {
  const server = await stage.laptopServer('laptop');
  await using intercept = await stage.intercept(['tp', '--port', `${portOf(server)}:http`]);
  for (const pod of stage.pods('tp')) assert.equal(await stage.call(stage.address(pod), 8080), 'laptop');
  const { stdout } = await stage.kpctl(['list']);
  assert.match(stdout, /^deployment\/tp +2\/2 +http:8080,other:9090 +by hand +tproxy +:8080 \S+@laptop /m);
  assert.match(stdout, /^deployment\/re +1\/1 +http:8080,other:9090 +by hand +redirect +-$/m);
  assert.match(stdout, /^deployment\/dep +2\/2 +http:8080,other:9090 +none +- +-$/m);
  intercept.kill('SIGINT');
  const outcome = await intercept.exited;
  // A call whose last frame is still on its way is waited for.
  const others = messages(outcome).others.filter((line) => !line.startsWith('stopped claiming; '));
  assert.deepEqual([messages(outcome).warnings, others], [[], []]);
  for (const pod of stage.pods('tp')) assert.match(await stage.call(stage.address(pod), 8080), /^server on tp-/);
  server.close();
});

test('connections that began before the claim stay with the app: how many, and when they have ended', async (stage) => {
  const [pod = ''] = stage.pods('tp');
  const old = await stage.caller.connect({ host: stage.address(pod), port: 8080 });
  old.write('GET /status HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(String((await once(old, 'data'))[0]), /server on tp-/);
  const server = await stage.laptopServer('laptop');
  await using intercept = await stage.intercept([`pod/${pod}`, '--port', `${portOf(server)}:8080`]);
  await intercept.waitForLine(new RegExp(`^1 established connection of port 8080 stays with the app in ${pod} until it ends$`));
  assert.equal(await stage.call(stage.address(pod), 8080), 'laptop');
  old.write('GET /status HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(String((await once(old, 'data'))[0]), /server on tp-/);
  assert.ok(!intercept.lines.some((line) => line.includes('have ended')));
  old.end();
  await intercept.waitForLine(new RegExp(`^${pod}: all connections of port 8080 that stayed with the app have ended$`));
  await interrupt(intercept);
  server.close();
});

test('a port that the rules do not capture: the captured ones are named, and how to add it', async (stage) => {
  const server = await stage.laptopServer('laptop');
  const local = portOf(server);
  const tail =
    /; add 7777 to KPEERING_INBOUND_PORTS of the pod template's kpeering init container, and wait for the rollout \[PORT_NOT_CAPTURED\]$/;
  const refused = await stage.kpctl(['intercept', 'tp', '--port', `${local}:7777`]);
  assertRefused(refused, 1, /port 7777 of pod tp-\S+ is not captured .*\(captured ports in tproxy mode: TCP 8080, 9000-9090; UDP 5353\)/);
  assert.match(refused.stderr, new RegExp(tail.source, 'm'));
  assertRefused(await stage.kpctl(['run', '-w', 'tp', '--port', '7777', '--', 'true']), 125, tail, [/declares port 7777/]);
  assertRefused(
    await stage.kpctl(['intercept', 'tp', '--port', `${local}:53/udp`]),
    1,
    /port 53\/udp of pod tp-\S+ is not captured.*; add 53 to KPEERING_INBOUND_UDP_PORTS .*\[PORT_NOT_CAPTURED\]$/,
    [/nothing listens on 127\.0\.0\.1:\d+\/udp yet/],
  );
  assertRefused(
    await stage.kpctl(['intercept', 're', '--port', `${local}:53/udp`]),
    1,
    /in redirect mode: TCP all; UDP none\); UDP needs KPEERING_MODE=tproxy .*\[PORT_NOT_CAPTURED\]$/,
    [/nothing listens on/],
  );
  assertRefused(
    await stage.kpctl(['intercept', 're', '--outbound', `${local}:10.0.0.1:443`]),
    1,
    /destination 10\.0\.0\.1:443 of pod re-\S+ is not captured .*\(captured outbound ports: 80\); add 443 to KPEERING_OUTBOUND_PORTS .*\[PORT_NOT_CAPTURED\]$/,
  );
  server.close();
});

test('a capture that does not work is found before anything is claimed; --no-proof claims all the same', async (stage) => {
  const [pod = ''] = stage.pods('re');
  const network = stage.lab.pod('default', pod);
  const rules = (action: string) => new Namespace(network.prefix).run('sh', [stage.redirect, action], { environment: redirectEnvironment });
  await rules('clean');
  const server = await stage.laptopServer('laptop');
  const words = ['intercept', 're', '--port', `${portOf(server)}:http`];
  assertRefused(
    await stage.kpctl(words),
    1,
    new RegExp(
      `a connection from pod \\S+ to pod ${pod} does not arrive at its kpeering: .*; see "kubectl -n default logs ${pod} -c kpeering-init"; --no-proof .*\\[CAPTURE_NOT_PROVED\\]$`,
    ),
  );
  assert.match((await stage.kpctl(['list'])).stdout, /^deployment\/re .* redirect +-$/m);
  await using intercept = await stage.intercept([...words.slice(1), '--no-proof']);
  await interrupt(intercept);
  await rules('apply');
  await using again = await stage.intercept(words.slice(1));
  assert.equal(await stage.call(stage.address(pod), 8080), 'laptop');
  await interrupt(again);
  server.close();
});

const redirectEnvironment = {
  KPEERING_MODE: 'redirect',
  KPEERING_OUTBOUND_PORTS: '80',
  KPEERING_EXEMPT_MARK: '0x6b70',
};

test('nobody to connect from: one quiet line, and it goes on', async (stage) => {
  const server = await stage.laptopServer('laptop');
  await using intercept = await stage.intercept(['one', '-n', 'lonely', '--port', `${portOf(server)}:http`]);
  intercept.kill('SIGINT');
  assert.deepEqual(messages(await intercept.exited), {
    warnings: [],
    others: ['the capture is not proved from outside: no second pod or gateway to connect from'],
  });
  server.close();
});

const status = z.array(
  z.looseObject({
    outbound: z.array(z.object({ remote: z.string(), local: z.int() })),
    pods: z.array(z.looseObject({ claimed: z.array(z.object({ protocol: z.string(), port: z.int(), address: z.string().optional() })) })),
  }),
);

for (const app of ['tp', 're']) {
  test(`the workload's own calls of a Service reach the laptop (${app})`, async (stage) => {
    const server = await stage.laptopServer('laptop');
    const [pod = ''] = stage.pods(app);
    const inPod = new Namespace(stage.lab.pod('default', pod).prefix);
    const call = (from: Namespace): Promise<string> => stage.call('dep', 80, from);
    assert.match(await call(inPod), /^server on dep-/);
    await using intercept = await stage.intercept([app, '--outbound', `${portOf(server)}:dep:http`]);
    const [line = ''] = intercept.lines;
    assert.match(line, new RegExp(`^${pod} to [\\d.]+:80 → 127\\.0\\.0\\.1:${portOf(server)}$`));
    assert.equal(await call(inPod), 'laptop');
    assert.match(await call(stage.caller), /^server on dep-/);
    assert.match(await stage.call(stage.address(pod), 8080), new RegExp(`^server on ${app}-`));
    const [report] = status.parse(parse((await stage.kpctl(['status', '-o', 'yaml'])).stdout));
    assert.deepEqual(report?.outbound, [{ remote: 'dep:http', local: portOf(server) }]);
    assert.equal(report?.pods[0]?.claimed[0]?.port, 80);
    assert.match((await stage.kpctl(['status'])).stdout, new RegExp(` ${portOf(server)}:dep:http .* [\\d.]+:80 `));
    assert.match((await stage.kpctl(['list'])).stdout, new RegExp(`^deployment/${app} .* to [\\d.]+:80 \\S+@laptop`, 'm'));
    await interrupt(intercept);
    assert.match(await call(inPod), /^server on dep-/);
    server.close();
  });
}

test('a headless Service: calls of its endpoints, also of those that come later', async (stage) => {
  const server = await stage.laptopServer('laptop');
  const [pod = ''] = stage.pods('tp');
  const inPod = new Namespace(stage.lab.pod('default', pod).prefix);
  await using intercept = await stage.intercept([`pod/${pod}`, '--outbound', `${portOf(server)}:set:http`]);
  const [old = '', other = ''] = stage.pods('dep');
  for (const endpoint of [old, other]) assert.equal(await stage.call(stage.address(endpoint), 8080, inPod), 'laptop');
  stage.lab.deletePod('default', old);
  const line = await intercept.waitForLine(new RegExp(`^${pod}: destination [\\d.]+:8080 is claimed, too$`));
  await stage.lab.waitReady();
  const added = stage.pods('dep').find((name) => name !== other) ?? '';
  assert.equal(line, `${pod}: destination ${stage.address(added)}:8080 is claimed, too`);
  assert.equal(await stage.call(stage.address(added), 8080, inPod), 'laptop');
  await interrupt(intercept);
  assert.match(await stage.call(stage.address(added), 8080, inPod), /^server on dep-/);
  server.close();
});

test('both at once: callers and the calls of the same workload', async (stage) => {
  const [one, two] = [await stage.laptopServer('one'), await stage.laptopServer('two')];
  const [pod = ''] = stage.pods('re');
  const inPod = new Namespace(stage.lab.pod('default', pod).prefix);
  await using intercept = await stage.intercept(['re', '-p', `${portOf(one)}:http`, '--outbound', `${portOf(two)}:dep:80`]);
  assert.equal(await stage.call(stage.address(pod), 8080), 'one');
  assert.equal(await stage.call('dep', 80, inPod), 'two');
  await interrupt(intercept);
  one.close();
  two.close();
});

/** Who answers `count` datagrams of the caller's pod, each whole. */
async function askUdp(stage: Stage, pod: string, size: number, count: number): Promise<unknown> {
  const answers = await stage.caller.run(stage.example[0] ?? '', [
    ...stage.example.slice(1),
    'udp-ask',
    stage.address(pod),
    '5353',
    String(size),
    String(count),
  ]);
  return JSON.parse(answers);
}

/** The example's UDP server on the laptop. */
async function udpServer(stage: Stage, port: number): Promise<Running> {
  const server = start([...stage.laptop.prefix, ...stage.example, 'udp', String(port)], stage.environment);
  await server.waitForLine(/^udp listens on/);
  return server;
}

test('UDP: the callers of a port reach the laptop, whole datagrams, and the app again afterwards', async (stage) => {
  const [pod = ''] = stage.pods('dns');
  assert.deepEqual(await askUdp(stage, pod, 64, 2), { [pod]: 2 });
  await using server = await udpServer(stage, 5999);
  await using intercept = await stage.intercept(['dns', '--port', '5999:dns']);
  assert.deepEqual(intercept.lines.slice(0, 1), [`${pod} :5353/udp → 127.0.0.1:5999`]);
  assert.deepEqual(await askUdp(stage, pod, 64, 20), { laptop: 20 });
  assert.deepEqual(await askUdp(stage, pod, 1_400, 5), { laptop: 5 });
  assert.deepEqual(await askUdp(stage, pod, 60_000, 3), { laptop: 3 });
  const several = await Promise.all(Array.from({ length: 8 }, () => askUdp(stage, pod, 512, 5)));
  assert.deepEqual(
    several,
    Array.from({ length: 8 }, () => ({ laptop: 5 })),
  );
  assert.match((await stage.kpctl(['status'])).stdout, / 5999:dns\/udp .* 5353\/udp /);
  assert.match((await stage.kpctl(['list'])).stdout, /^deployment\/dns .* dns:5353\/udp .* tproxy +:5353\/udp \S+@laptop/m);
  await interrupt(intercept);
  assert.deepEqual(await askUdp(stage, pod, 64, 2), { [pod]: 2 });
  server.kill('SIGKILL');
});

test('UDP: while nothing listens locally it is said, and later datagrams arrive', async (stage) => {
  const [pod = ''] = stage.pods('dns');
  await using intercept = await stage.intercept(['dns', '--port', '5999:5353/udp']);
  assert.ok(intercept.lines.some((line) => line.includes('nothing listens on 127.0.0.1:5999/udp yet')));
  assert.deepEqual(await askUdp(stage, pod, 64, 1), { nobody: 1 });
  await intercept.waitForLine(
    new RegExp(`^kpctl: warning: datagrams to ${pod} could not be delivered to 127\\.0\\.0\\.1:5999/udp: .*ECONNREFUSED`),
  );
  await using server = await udpServer(stage, 5999);
  assert.deepEqual(await askUdp(stage, pod, 64, 3), { laptop: 3 });
  await interrupt(intercept);
  server.kill('SIGKILL');
});

test('UDP: callers reach the command of kpctl run, in its own network', async (stage) => {
  const [pod = ''] = stage.pods('dns');
  await using running = stage.start(['run', '-w', 'dns', '--port', '5999:dns', '--', ...stage.example, 'udp', '5999']);
  await running.waitForLine(/^kpctl: ready$/);
  await running.waitForLine(/^udp listens on/);
  assert.deepEqual(await askUdp(stage, pod, 64, 10), { laptop: 10 });
  assert.deepEqual(await askUdp(stage, pod, 60_000, 3), { laptop: 3 });
  running.kill('SIGTERM');
  await running.exited;
  assert.deepEqual(await askUdp(stage, pod, 64, 2), { [pod]: 2 });
});
