import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import type { Outcome, Running } from '../../src/kpctl/demo/processes.ts';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { captureManifest, openClusterStage, type ClusterStage } from './cluster-stage.ts';
import { leftOnLaptop } from './laptop-state.ts';

const node = '/usr/bin/node';
const example = [node, '/opt/examples/main.js'];
/** As many requests are under way at a time, and so many may be lost with a killed process. */
const CONCURRENCY = 20;

let stage: ClusterStage;
/** The laptop's name, and its HTTP server. */
let laptop: string;
let local: Running;
let port: string;

test.before(async (t) => {
  stage = await openClusterStage('capture', [captureManifest, 'deploy/gateway.yaml'], (line) => t.log(line));
  laptop = (await onLaptop(stage, ['hostname'])).stdout.trim();
  local = startOnLaptop(stage, [...stage.example, 'server', '0']);
  port = await portOf(local);
});
test.afterEach.always(async (t) => {
  if (!t.passed) t.log(await stage.kubectlOut('get', 'events', '--field-selector', 'type=Warning'));
});
test.after.always(async () => {
  await local[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

async function portOf(server: Running): Promise<string> {
  return /\d+$/u.exec(await server.waitForLine(/listens on/u))?.[0] ?? '';
}

async function podOf(app: string): Promise<{ name: string; ip: string }> {
  const form = 'jsonpath={.items[0].metadata.name} {.items[0].status.podIP}';
  const [name = '', ip = ''] = (await stage.kubectlOut('get', 'pods', '-l', `app=${app}`, '-o', form)).trim().split(' ');
  return { name, ip };
}

function inCaller(...argv: readonly string[]): string[] {
  return ['kubectl', '-n', stage.namespace, 'exec', 'deploy/caller', '--', ...argv];
}

async function fromCaller(...argv: readonly string[]): Promise<Outcome> {
  return await onLaptop(stage, inCaller(...argv));
}

async function statusFromCaller(host: string): Promise<string> {
  return (await fromCaller(...example, 'get', `http://${host}/status`)).stdout.trim();
}

/** `kpctl intercept`, ready. */
async function intercept(workload: string, ...options: string[]): Promise<Running> {
  const running = startOnLaptop(stage, kpctl(stage, 'intercept', workload, ...options));
  await running.waitForLine(/^ready$/u);
  return running;
}

async function interrupted(program: Running): Promise<void> {
  program.kill('SIGINT');
  await program.exited;
}

/** SIGKILL to the process that the supervisor of a pod's sidecar looks after. */
async function killSidecar(pod: string): Promise<void> {
  const script =
    'for p in /proc/[0-9]*; do read -r id name state parent rest <$p/stat; if [ "$parent" = 1 ]; then kill -KILL "$id"; fi; done';
  await stage.kubectlOut('exec', pod, '-c', 'kpeering', '--', 'sh', '-c', script);
}

/** What the kubelet thinks of a pod: whether it is ready and since when, and how often its containers have been started again. */
async function standing(pod: string): Promise<string> {
  const form =
    'jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].lastTransitionTime} {.status.initContainerStatuses[*].restartCount} {.status.containerStatuses[*].restartCount}';
  return (await stage.kubectlOut('get', 'pod', pod, '-o', form)).trim();
}

async function metric(ip: string, name: string): Promise<string | undefined> {
  const { stdout } = await fromCaller(...example, 'get', `http://${ip}:15320/metrics`);
  return stdout
    .split('\n')
    .find((line) => line.startsWith(name))
    ?.slice(name.length)
    .trim();
}

const stormSchema = z.object({
  answered: z.record(z.string(), z.number()),
  failures: z.array(z.object({ number: z.number(), began: z.number(), ended: z.number(), error: z.string() })),
});
type Storm = z.infer<typeof stormSchema>;

/** Requests from the caller, each on a new connection. */
function storm(host: string, count: number, concurrency: number, perSecond = Infinity): Running {
  return startOnLaptop(
    stage,
    inCaller(node, '/traffic/load.ts', 'storm', `http://${host}/status`, String(count), String(concurrency), String(perSecond)),
  );
}

async function stormed(running: Running): Promise<Storm> {
  const outcome = await running.exited;
  return stormSchema.parse(JSON.parse(outcome.stdout.trim().split('\n').at(-1) ?? outcome.stderr));
}

function assertAnswered(t: ExecutionContext, { answered, failures }: Storm, count: number, by: readonly string[]): void {
  t.log(JSON.stringify(answered));
  t.deepEqual(failures, []);
  t.is(
    Object.values(answered).reduce((sum, one) => sum + one, 0),
    count,
  );
  t.deepEqual(Object.keys(answered).sort(), [...by].sort());
}

test('auto takes tproxy, and the pod says so', async (t) => {
  const log = await stage.kubectlOut('logs', (await podOf('auto')).name, '-c', 'kpeering');
  t.regex(log, /"mode":"tproxy","reason":"the kernel takes tproxy rules"/u);
});

test('tproxy: of 10,000 calls, through claim, release, claim and SIGKILL of the sidecar, none is lost but with the process', async (t) => {
  const { name, ip } = await podOf('tproxy');
  const before = await standing(name);
  await using calls = storm('tproxy', 10_000, CONCURRENCY);
  await calls.waitForLine(/^1000 done$/u);
  await using first = await intercept('tproxy', '--port', `${port}:http`);
  await calls.waitForLine(/^3000 done$/u);
  await interrupted(first);
  await calls.waitForLine(/^5000 done$/u);
  await using second = await intercept('tproxy', '--port', `${port}:http`);
  await using kept = startOnLaptop(stage, inCaller(node, '/traffic/load.ts', 'keep', 'http://tproxy/status', '10'));
  t.is(await kept.waitForLine(/^kept/u), `kept 10 by ${laptop}`);
  await calls.waitForLine(/^7000 done$/u);
  await killSidecar(name);
  await second.waitForLine(/: port 8080 is claimed again$/u);
  const { answered, failures } = await stormed(calls);
  t.log(JSON.stringify({ answered, failures: failures.slice(0, CONCURRENCY) }));
  t.deepEqual(Object.keys(answered).sort(), [laptop, name].sort());
  t.is(Object.values(answered).reduce((sum, one) => sum + one, 0) + failures.length, 10_000);
  t.true(failures.length <= CONCURRENCY);
  // Those that the killed process had: under way at one instant.
  const [latestBeginning, earliestEnd] = [Math.max(...failures.map(({ began }) => began)), Math.min(...failures.map(({ ended }) => ended))];
  t.true(failures.length === 0 || latestBeginning <= earliestEnd);
  const { stdout } = await kept.exited;
  t.deepEqual(stdout.trim().split('\n').slice(1), Array<string>(10).fill('end'));
  await interrupted(second);

  t.is(await standing(name), before);
  t.regex(before, /^True /u);
  t.is(await metric(ip, 'kpeering_restarts_total'), '1');
});

test('tproxy: the sidecar is killed while nothing is claimed: nobody notices, and the next connection reaches the app', async (t) => {
  const { name } = await podOf('tproxy');
  const before = await standing(name);
  await using kept = startOnLaptop(stage, inCaller(node, '/traffic/load.ts', 'keep', 'http://tproxy/status', '5'));
  await kept.waitForLine(/^kept/u);
  await using calls = storm('tproxy', 2000, CONCURRENCY);
  await calls.waitForLine(/^200 done$/u);
  await killSidecar(name);
  t.is(await statusFromCaller('tproxy'), `200 server on ${name} is well`);
  assertAnswered(t, await stormed(calls), 2000, [name]);
  t.is(kept.lines.length, 1);
  t.is(await standing(name), before);
});

test('redirect: of 4,000 calls, through claim and release, none is lost', async (t) => {
  const { name } = await podOf('redirect');
  await using calls = storm('redirect', 4000, CONCURRENCY);
  await calls.waitForLine(/^400 done$/u);
  await using claim = await intercept('redirect', '--port', `${port}:http`);
  await calls.waitForLine(/^2400 done$/u);
  await interrupted(claim);
  assertAnswered(t, await stormed(calls), 4000, [laptop, name]);
});

test('tproxy: a listener opens and closes 200 times under load, and no connection is reset', async (t) => {
  const { name } = await podOf('tproxy');
  await using calls = storm('tproxy', 6000, 50, 1000);
  await calls.waitForLine(/^600 done$/u);
  const cycles = await onLaptop(stage, [
    stage.node,
    stage.inCheckout('test/e2e/claim-cycles.ts'),
    stage.namespace,
    name,
    '8080',
    port,
    '200',
  ]);
  t.is(cycles.code, 0, cycles.stderr);
  const result = await stormed(calls);
  assertAnswered(t, result, 6000, [laptop, name]);
  t.true((result.answered[laptop] ?? 0) > 20, cycles.stdout);
});

test('probes by HTTP, TCP and gRPC hold while the ports are claimed and the local process is stopped', async (t) => {
  await using stuck = startOnLaptop(stage, [...stage.example, 'server', '0']);
  const stuckPort = await portOf(stuck);
  const options = ['http', '7000', '8082'].flatMap((remote) => ['--port', `${stuckPort}:${remote}`]);
  const pods = [await podOf('tproxy'), await podOf('redirect')];
  const before = await Promise.all(pods.map(async ({ name }) => standing(name)));
  await using first = await intercept('tproxy', ...options);
  await using second = await intercept('redirect', ...options);
  for (const app of ['tproxy', 'redirect']) t.is(await statusFromCaller(app), `200 server on ${laptop} is well`);
  stuck.kill('SIGSTOP');
  // Each probe looks every second and waits for three: by now a pod would be out of its Service, and its containers started again.
  await delay(14_000);
  t.deepEqual(await Promise.all(pods.map(async ({ name }) => standing(name))), before);
  const endpoints = [
    'get',
    'endpointslices',
    '-l',
    'kubernetes.io/service-name in (tproxy,redirect)',
    '-o',
    'jsonpath={..conditions.ready}',
  ];
  t.is((await stage.kubectlOut(...endpoints)).trim(), 'true true');
  await Promise.all([interrupted(first), interrupted(second)]);
  for (const [index, app] of ['tproxy', 'redirect'].entries())
    t.is(await statusFromCaller(app), `200 server on ${pods[index]?.name} is well`);
  stuck.kill('SIGCONT');
});

test('UDP: a claimed port reaches the laptop, an unclaimed one the app, and kpctl run the cluster', async (t) => {
  const { name } = await podOf('tproxy');
  const ask = ['udp-ask', 'tproxy', '5353', '1200', '50'];
  t.deepEqual(JSON.parse((await fromCaller(...example, ...ask)).stdout), { [name]: 50 });
  await using server = startOnLaptop(stage, [...stage.example, 'udp', '0']);
  await using claim = await intercept('tproxy', '--port', `${await portOf(server)}:5353/udp`);
  t.deepEqual(JSON.parse((await fromCaller(...example, ...ask)).stdout), { [laptop]: 50 });
  const run = await onLaptop(stage, kpctl(stage, 'run', '--', ...stage.example, ...ask));
  t.deepEqual(JSON.parse(run.stdout), { [laptop]: 50 }, run.stderr);
  await interrupted(claim);
  t.deepEqual(JSON.parse((await fromCaller(...example, ...ask)).stdout), { [name]: 50 });
});

for (const app of ['tproxy', 'redirect']) {
  test(`${app}: the pod's own calls of a Service reach the laptop while they are claimed`, async (t) => {
    const { name } = await podOf(app);
    const caller = await podOf('caller');
    async function called(): Promise<string> {
      return (await stage.kubectlOut('exec', name, '-c', 'http', '--', ...example, 'get', 'http://caller/status')).trim();
    }
    t.is(await called(), `200 dependency on ${caller.name} is well`);
    await using claim = await intercept(app, '--outbound', `${port}:caller:80`);
    t.is(await called(), `200 server on ${laptop} is well`);
    await interrupted(claim);
    t.is(await called(), `200 dependency on ${caller.name} is well`);
  });
}

test('a port without a rule cannot be claimed: the message names those that are captured', async (t) => {
  const { name } = await podOf('auto');
  const refused = await startOnLaptop(stage, kpctl(stage, 'intercept', 'auto', '--port', `${port}:7000`)).exited;
  t.is(refused.code, 1);
  t.true(refused.stderr.includes(name) && refused.stderr.includes('8080'), refused.stderr);
  t.true(refused.stderr.includes('KPEERING_INBOUND_PORTS'), refused.stderr);
});

test('nothing is left on the laptop', async (t) => {
  await local[Symbol.asyncDispose]();
  t.deepEqual(await leftOnLaptop(stage, stage.before), []);
});
