import test from 'ava';
import { setTimeout as delay } from 'node:timers/promises';
import { openClusterStage, type ClusterStage } from './cluster-stage.ts';
import { openLaptop, type Laptop } from './laptop.ts';

let stage: ClusterStage;
let laptop: Laptop;
const answer = /^dependency on web-\S+ is well$/m;

test.before(async (t) => {
  stage = await openClusterStage('overlap', ['test/e2e/up.yaml', 'deploy/gateway.yaml', 'test/e2e/rights.yaml'], (line) => t.log(line));
  laptop = await openLaptop(stage, { ipv6: false }); // as most are: the cluster's IPv6 is reached all the same
});
test.after.always(async () => {
  await laptop[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

/** A web server of somebody else's, behind a veth whose network is `address`'s /24 or /112: it answers `caller …`. */
async function neighbour(name: string, address: string): Promise<void> {
  const six = address.includes(':');
  const own = six ? address.replace(/[^:]*$/, 'fffe') : address.replace(/\d+$/, '254');
  const bits = six ? 112 : 24;
  const script = `set -e
ip netns add ${name}
ip link add ${name} type veth peer name eth0 netns ${name}
ip address add ${own}/${bits} dev ${name} ${six ? 'nodad' : ''}
ip link set ${name} up
ip netns exec ${name} ip address add ${address}/${bits} dev eth0 ${six ? 'nodad' : ''}
ip netns exec ${name} ip link set eth0 up
ip netns exec ${name} ip link set lo up
`;
  await laptop.network.run('sh', ['-c', script]);
  laptop.network.spawn('ip', ['netns', 'exec', name, laptop.node, laptop.inCheckout('test/e2e/internet.ts')], { stdio: 'ignore' }).unref();
  const host = six ? `[${address}]` : address;
  for (const patience = AbortSignal.timeout(10_000); (await laptop.user.run('curl', '-sf', '-m', '1', `http://${host}/`)).code !== 0;) {
    patience.throwIfAborted();
    await delay(50);
  }
}

const addressOf = async (...words: string[]): Promise<string> => (await stage.kubectlOut('get', ...words)).trim();

test.serial('a veth that has addresses of the Services: names lead to the cluster, addresses to the veth, and up says which', async (t) => {
  const service = await addressOf('service', 'web', '-o', 'jsonpath={.spec.clusterIP}');
  await neighbour('shop0', service);
  const before = await laptop.state();
  const outcome = await laptop.up();
  t.is(outcome.code, 0, outcome.stderr);
  t.regex(outcome.stderr + outcome.stdout, /overlaps this machine's route \S+\/24 dev shop0/);
  t.regex(await laptop.user.out('getent', 'ahostsv4', 'web'), /^198\.1[89]\./);
  for (const seat of [laptop.user, laptop.container]) {
    const byName = await seat.run('curl', '-4', '-sS', '-m', '10', 'http://web/status');
    t.regex(byName.stdout, answer, byName.stderr);
  }
  t.regex(await laptop.user.out('curl', '-sS', '-m', '10', `http://${service}/`), /^caller /, 'the veth is reached as before');
  const synthetic = (await laptop.user.out('getent', 'ahostsv4', 'web')).split(' ')[0] ?? '';
  t.is(await laptop.user.out('dig', '+short', '+tries=1', '-x', synthetic), `web.${stage.namespace}.svc.cluster.local.\n`);
  const datagrams = await laptop.user.run(
    laptop.node,
    laptop.inCheckout('deploy/examples/apps/main.js'),
    'udp-ask',
    `web.${stage.namespace}`,
    '7000',
    '64',
    '3',
  );
  t.regex(datagrams.stdout, /^\{"web-\S+":3\}$/m, datagrams.stderr);
  await laptop.down();
  t.deepEqual(await laptop.left(before), []);
});

test.serial('a veth that comes while up runs and has the pods: names lead to the cluster within 5 s, addresses to the veth', async (t) => {
  t.is((await laptop.up()).code, 0);
  const pod = await addressOf('pod', '-l', 'app=web', '-o', 'jsonpath={.items[0].status.podIP}');
  const direct = await laptop.user.run('curl', '-4', '-sS', '-m', '10', `http://${pod}:8080/status`);
  t.regex(direct.stdout, answer, direct.stderr);
  // a neighbour of the pod: its network is the pods', and the pod's own address has nobody here
  const other = pod.replace(/\d+$/, (last) => String(last === '253' ? 252 : 253));
  await neighbour('pods0', other).catch((error: unknown) => t.log(String(error)));
  const started = performance.now();
  for (;;) {
    const byName = await laptop.user.run('curl', '-4', '-sS', '-m', '2', 'http://pods:8080/status');
    const synthetic = (await laptop.user.run('getent', 'ahostsv4', 'pods')).stdout;
    if (answer.test(byName.stdout) && /^198\.1[89]\./.test(synthetic)) break;
    if (performance.now() - started > 15_000) t.fail(`${byName.stderr}${byName.stdout}${synthetic}`);
    if (performance.now() - started > 15_000) break;
  }
  const milliseconds = Math.round(performance.now() - started);
  t.log(`${milliseconds} ms`);
  t.true(milliseconds < 5000);
  t.regex((await laptop.user.run('curl', '-sS', '-m', '5', `http://${other}/`)).stdout, /^caller /, 'the veth');
  await laptop.down();
});

test.serial(
  "with rights in one namespace only, its Services and pods are captured, and what the cluster's own DNS answers for others",
  async (t) => {
    await laptop.network.attempt('ip', ['netns', 'delete', 'shop0']);
    await laptop.network.attempt('ip', ['netns', 'delete', 'pods0']);
    const outcome = await laptop.up('--as', 'e2e-developer');
    t.is(outcome.code, 0, outcome.stderr);
    t.regex(outcome.stderr + outcome.stdout, /single address.*you may not read them/);
    for (const url of ['http://web/status', `http://pods.${stage.namespace}:8080/status`]) {
      const called = await laptop.user.run('curl', '-sS', '-m', '10', url);
      t.regex(called.stdout, answer, `${url}: ${called.stderr}`);
    }
    const name = 'kube-dns.kube-system.svc.cluster.local';
    const service = (await stage.kubectlOut('get', 'service', 'kube-dns', '-n', 'kube-system', '-o', 'jsonpath={.spec.clusterIP}')).trim();
    t.is((await laptop.user.out('getent', 'ahostsv4', name)).split(' ')[0], service);
    t.regex(
      await laptop.user.out('dig', '+tcp', '+short', '+tries=1', `@${name}`, `web.${stage.namespace}.svc.cluster.local`),
      /^[\d.]+$/m,
    );
    t.is((await laptop.down()).code, 0);
  },
);
