import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { Running } from '../../src/kpctl/demo/processes.ts';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { openClusterStage, type ClusterStage } from './cluster-stage.ts';
import { imageTag } from './installation.ts';

const example = ['/usr/bin/node', '/opt/examples/main.js'];
const image = `kpeering/kpeering:${imageTag}`;
const answeredByPod = /^200 server on web-\S+ is well$/u;

let stage: ClusterStage;
let local: Running;
let port: string;
let answeredByLaptop: string;

test.before(async (t) => {
  stage = await openClusterStage('ephemeral', ['test/e2e/rights.yaml', 'test/e2e/ephemeral.yaml'], (line) => t.log(line));
  local = startOnLaptop(stage, [...stage.example, 'server', '0']);
  port = /\d+$/u.exec(await local.waitForLine(/listens on/u))?.[0] ?? '';
  answeredByLaptop = `200 server on ${(await onLaptop(stage, ['hostname'])).stdout.trim()} is well`;
});
test.after.always(async () => {
  await local[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

function intercept(workload: string, ...options: string[]): Running {
  return startOnLaptop(
    stage,
    kpctl(stage, 'intercept', workload, '--ephemeral', '--yes', '--image', image, '--port', `${port}:http`, ...options),
  );
}

async function interrupted(program: Running): Promise<number> {
  program.kill('SIGINT');
  return (await program.exited).code;
}

interface PodOfWeb {
  readonly name: string;
  readonly ip: string;
}

async function pods(): Promise<readonly PodOfWeb[]> {
  const form = 'jsonpath={range .items[*]}{.metadata.name} {.status.podIP}{"\\n"}{end}';
  const text = await stage.kubectlOut('get', 'pods', '-l', 'app=web', '--field-selector', 'status.phase=Running', '-o', form);
  return text
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
    .map(([name = '', ip = '']) => ({ name, ip }));
}

/** What tells a pod that goes on from one that was started again: its uid, readiness and since when, and its restarts. */
async function standing(): Promise<string> {
  const form =
    'jsonpath={range .items[*]}{.metadata.uid} {.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].lastTransitionTime} {.status.containerStatuses[*].restartCount}{"\\n"}{end}';
  return (await stage.kubectlOut('get', 'pods', '-l', 'app=web', '-o', form)).trim();
}

async function entries({ name }: PodOfWeb): Promise<string> {
  return (await stage.kubectlOut('get', 'pod', name, '-o', 'jsonpath={.spec.ephemeralContainers[*].name}')).trim();
}

async function ask({ ip }: PodOfWeb): Promise<string> {
  return (await stage.kubectlOut('exec', 'deploy/caller', '--', ...example, 'get', `http://${ip}:8080/status`)).trim();
}

/** The rules in a pod's network namespace. */
async function rules({ name }: PodOfWeb, entry = 'kpeering-ephemeral-1'): Promise<string> {
  return (await stage.kubectlOut('exec', name, '-c', entry, '--', '/usr/sbin/nft', 'list', 'ruleset')).trim();
}

async function untilNoRules(t: ExecutionContext, pod: PodOfWeb): Promise<void> {
  while ((await rules(pod)) !== '') await delay(100);
  t.regex(await ask(pod), answeredByPod);
}

test.serial('with exactly the rights that it needs, two pods are intercepted without a restart, and left without a rule', async (t) => {
  const before = await standing();
  const began = performance.now();
  await using running = intercept('web', '--as', 'e2e-ephemeral');
  await running.waitForLine(/^ready$/u);
  t.log(`ready after ${Math.round(performance.now() - began)} ms`);
  const all = await pods();
  t.is(all.length, 2);
  for (const pod of all) {
    t.is(await ask(pod), answeredByLaptop);
    t.is(await entries(pod), 'kpeering-ephemeral-1');
    t.regex(await rules(pod), /flags owner[^]*tcp dport 8080 tproxy/u);
  }
  t.is(await interrupted(running), 130);
  for (const pod of all) await untilNoRules(t, pod);
  t.is(await standing(), before);
  const { stderr } = await running.exited;
  t.regex(stderr, /adds an ephemeral container to 2 running pods of deployment\/web .*its entry stays in the pod/u);
  t.regex(stderr, /readinessProbe of container web asks port 8080/u);
});

test.serial('the next intercept uses what is there, pods that come during it get one, and kpctl list knows them', async (t) => {
  const began = performance.now();
  await using running = intercept('web');
  await running.waitForLine(/^ready$/u);
  t.log(`ready after ${Math.round(performance.now() - began)} ms`);
  const two = await pods();
  for (const pod of two) t.is(await entries(pod), 'kpeering-ephemeral-1');
  await stage.kubectlOut('scale', 'deployment/web', '--replicas=3');
  await running.waitForLine(/is new: it gets the ephemeral container kpeering-ephemeral-1/u);
  await stage.kubectlOut('rollout', 'status', 'deployment/web', '--timeout=60s');
  const added = (await pods()).find(({ name }) => two.every((pod) => pod.name !== name));
  t.truthy(added);
  if (added === undefined) return;
  while ((await ask(added)) !== answeredByLaptop) await delay(100);
  const list = await onLaptop(stage, kpctl(stage, 'list'));
  t.regex(list.stdout, /deployment\/web +3\/3 .*ephemeral.*:8080 /u);
  t.is(await interrupted(running), 130);
  for (const pod of await pods()) await untilNoRules(t, pod);
});

test.serial('kpeering is killed: the app answers at once, and it is back for the laptop in a moment', async (t) => {
  const before = await standing();
  const [pod] = await pods();
  t.truthy(pod);
  if (pod === undefined) return;
  await using running = intercept(`pod/${pod.name}`);
  await running.waitForLine(/^ready$/u);
  const script =
    'for p in /proc/[0-9]*; do read -r id name state parent rest <$p/stat; if [ "$parent" = 1 ]; then kill -KILL "$id"; fi; done';
  await stage.kubectlOut('exec', pod.name, '-c', 'kpeering-ephemeral-1', '--', 'sh', '-c', script);
  await running.waitForLine(/is claimed again$/u);
  t.is(await ask(pod), answeredByLaptop);
  t.is(await interrupted(running), 130);
  await untilNoRules(t, pod);
  t.is(await standing(), before);
});

test.serial('one that has ended leaves the pod as it was, and the next intercept adds another one, under a new name', async (t) => {
  const before = await standing();
  const [pod] = await pods();
  t.truthy(pod);
  if (pod === undefined) return;
  await using first = intercept(`pod/${pod.name}`);
  await first.waitForLine(/^ready$/u);
  t.is(await interrupted(first), 130);
  // Not waited for: an exec into a container that ends meanwhile may never return.
  const exec = ['kubectl', '-n', stage.namespace, 'exec', pod.name, '-c', 'kpeering-ephemeral-1', '--', 'sh', '-c', 'kill -TERM 1'];
  await using _ending = startOnLaptop(stage, exec);
  const state = ['get', 'pod', pod.name, '-o', 'jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}'];
  while ((await stage.kubectlOut(...state)).trim() !== '0') await delay(100);
  await using running = intercept(`pod/${pod.name}`);
  await running.waitForLine(/^ready$/u);
  t.deepEqual((await entries(pod)).split(' ').toSorted(), ['kpeering-ephemeral-1', 'kpeering-ephemeral-2']);
  t.is(await ask(pod), answeredByLaptop);
  t.is(await interrupted(running), 130);
  t.is(await standing(), before);
});

test.serial('one right short: the message names it, and no pod has changed', async (t) => {
  const refused = await intercept('caller', '--as', 'e2e-developer').exited;
  t.is(refused.code, 1);
  t.regex(refused.stderr, /cannot patch resource "pods\/ephemeralcontainers".*\[API_FORBIDDEN\]/u);
  t.is(await stage.kubectlOut('get', 'pods', '-l', 'app=caller', '-o', 'jsonpath={.items[*].spec.ephemeralContainers}'), '');
});

test.serial('where Pod Security forbids it, it is refused: by the label where that may be read, else by the API server', async (t) => {
  await stage.kubectlOut('label', 'namespace', stage.namespace, 'pod-security.kubernetes.io/enforce=baseline', '--overwrite');
  const before = await intercept('caller').exited;
  t.is(before.code, 1);
  t.regex(before.stderr, /enforces the Pod Security level baseline .*\[INJECT_POD_SECURITY\]/u);
  const after = await intercept('caller', '--as', 'e2e-ephemeral').exited;
  t.is(after.code, 1);
  t.regex(after.stderr, /violates PodSecurity "baseline.*\[INJECT_POD_SECURITY\]/u);
});
