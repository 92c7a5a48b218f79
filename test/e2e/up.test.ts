import test from 'ava';
import { z } from 'zod';
import { openClusterStage, type ClusterStage } from './cluster-stage.ts';
import { openLaptop, type Laptop } from './laptop.ts';
import type { LaptopState } from './laptop-state.ts';
import { failedProbes, probes, scriptOf, type Probe } from './probes.ts';
import { startServers } from './servers.ts';

let stage: ClusterStage;
let laptop: Laptop;
let all: readonly Probe[];
let before: LaptopState;

test.before(async (t) => {
  stage = await openClusterStage('up', ['test/e2e/up.yaml', 'deploy/gateway.yaml'], (line) => t.log(line));
  [laptop] = await Promise.all([openLaptop(stage), startServers(stage)]);
  all = probes({ namespace: stage.namespace, node: laptop.node, inCheckout: (path) => laptop.inCheckout(path) });
});
test.after.always(async () => {
  await laptop[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

test.serial('run: every program of a command reaches the cluster by short and long names', async (t) => {
  const outcome = await laptop.user.run(...laptop.kpctl, 'run', '-n', stage.namespace, '--', 'sh', '-c', scriptOf(all));
  t.deepEqual(failedProbes(all, outcome), []);
});

test.serial('up: returns when the laptop is in the cluster, and answers the first request', async (t) => {
  before = await laptop.state();
  const started = performance.now();
  const outcome = await laptop.up();
  t.is(outcome.code, 0, outcome.stderr + outcome.stdout);
  const first = await laptop.user.run('curl', '-sS', '-m', '10', 'http://web/status');
  t.log(`${Math.round(performance.now() - started)} ms to the first answer`);
  t.regex(first.stdout, /^dependency on web-\S+ is well$/m, `${first.stderr}\n${outcome.stderr}`);
});

test.serial('up: every program of an ordinary user reaches the cluster by short and long names', async (t) => {
  t.deepEqual(failedProbes(all, await laptop.user.run('sh', '-c', scriptOf(all))), []);
});

test.serial('up: and so do those of root and of a container behind a bridge', async (t) => {
  t.deepEqual(failedProbes(all, await laptop.root.run('sh', '-c', scriptOf(all))), [], 'root');
  t.deepEqual(failedProbes(all, await laptop.container.run('sh', '-c', scriptOf(all))), [], 'container');
});

test.serial('up: the IPv6 addresses of Services and pods are reached', async (t) => {
  const answer = /^dependency on web-\S+ is well$/m;
  for (const url of ['http://web/status', 'http://pods:8080/status']) {
    const outcome = await laptop.user.run('curl', '-6', '-sS', '-m', '10', url);
    t.regex(outcome.stdout, answer, `${url}: ${outcome.stderr}`);
  }
});

test.serial('up: servers of the internet are called directly, by name and by address', async (t) => {
  const { web, laptop: own, nameServer } = laptop.internet;
  for (const host of [web.name, web.ipv4]) {
    t.is(await laptop.user.out('curl', '-4', '-sS', '-m', '10', `http://${host}/`), `caller ${own.ipv4}\n`);
    t.is(await laptop.container.out('curl', '-4', '-sS', '-m', '10', `http://${host}/`), `caller ${own.ipv4}\n`, 'container');
  }
  t.is(await laptop.user.out('curl', '-6', '-sS', '-m', '10', `http://${web.name}/`), `caller ${own.ipv6}\n`);
  t.is(await laptop.user.out('dig', '+short', '+tries=1', web.name), `${web.ipv4}\n`);
  t.is(await laptop.user.out('dig', '+short', '+tries=1', '+tcp', `@${nameServer}`, web.name), `${web.ipv4}\n`);
  t.is(await laptop.user.out('dig', '+short', '+search', '+tries=1', 'www'), `${web.ipv4}\n`, "the machine's own search list");
});

test.serial('up: a second one explains that there is one, and whose', async (t) => {
  const outcome = await laptop.up();
  t.not(outcome.code, 0);
  t.regex(outcome.stderr, /kp-developer.*\[UP_RUNNING\]/s);
});

test.serial('up: kpctl run works beside it', async (t) => {
  const outcome = await laptop.user.run(
    ...laptop.kpctl,
    'run',
    '-n',
    stage.namespace,
    '--',
    'curl',
    '-sS',
    '-m',
    '10',
    'http://web/status',
  );
  t.regex(outcome.stdout, /^dependency on web-/m, outcome.stderr);
});

test.serial('up: nobody outside reaches what it listens on', async (t) => {
  const listening = [...(await laptop.root.out('ss', '-Hltn')).matchAll(/^\S+ +\S+ +\S+ +\[?([\d.:a-f]+)\]?(?:%\S+)?:(\d+) /gm)];
  const others = listening.filter(([, address = '']) => !/^127\.|^::1$/.test(address));
  const { laptop: own } = laptop.internet;
  const reached: string[] = [];
  for (const [, address = '', port = ''] of others) {
    // by its own address, as a neighbour could that sends to the laptop, and by the laptop's
    const via = address.includes(':') ? own.ipv6 : own.ipv4;
    if (address !== '0.0.0.0' && address !== '::') await laptop.internet.run('ip', 'route', 'replace', address, 'via', via);
    for (const target of address === '0.0.0.0' || address === '::' ? [via] : [address, via]) {
      const outcome = await laptop.internet.run(
        'socat',
        '-u',
        '/dev/null',
        `TCP:${target.includes(':') ? `[${target}]` : target}:${port},connect-timeout=1`,
      );
      if (outcome.code === 0) reached.push(`${target} port ${port}`);
    }
  }
  t.deepEqual(reached, []);
  t.log(`${listening.length} listeners, ${others.length} not on loopback`);
});

test.serial('down: nothing is left, and names of the internet still work', async (t) => {
  const outcome = await laptop.down();
  t.is(outcome.code, 0, outcome.stderr);
  t.deepEqual(await laptop.left(before), []);
  t.is(
    await laptop.user.out('curl', '-4', '-sS', '-m', '10', `http://${laptop.internet.web.name}/`),
    `caller ${laptop.internet.laptop.ipv4}\n`,
  );
  const gone = await laptop.user.run('curl', '-sS', '-m', '5', 'http://web/status');
  t.not(gone.code, 0);
});

const statusSchema = z.array(z.looseObject({ kind: z.string() }));

test.serial('up --never: a network of the cluster is left alone, and --also takes another', async (t) => {
  const address = (await stage.kubectlOut('get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}')).trim();
  const outcome = await laptop.up('--never', `${address}/32`, '--also', '198.51.100.0/24');
  t.is(outcome.code, 0, outcome.stderr);
  try {
    const status = statusSchema.parse(JSON.parse(await laptop.user.out(...laptop.kpctl, 'status', '-o', 'json')));
    t.true(status.some(({ kind }) => kind === 'up'));
    const never = await laptop.user.run('curl', '-4', '-sS', '-m', '2', 'http://web/status');
    t.not(never.code, 0, 'it leaves by the default route, where nobody answers');
    t.is((await laptop.user.run('redis-cli', '-h', 'cache', 'ping')).stdout, 'PONG\n');
  } finally {
    await laptop.down();
  }
  t.deepEqual(await laptop.left(before), []);
});
