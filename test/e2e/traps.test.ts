import test from 'ava';
import type { Running } from '../../src/kpctl/demo/processes.ts';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { openClusterStage, trapsManifest, type ClusterStage } from './cluster-stage.ts';

/** By label only: no manifest of these pods names kpeering but in that label. */
let stage: ClusterStage;

test.before(async (t) => {
  stage = await openClusterStage('traps', [trapsManifest], (line) => t.log(line));
});
test.afterEach.always(async (t) => {
  if (!t.passed) t.log(await stage.kubectlOut('get', 'pods', '-o', 'wide'));
});
test.after.always(async () => {
  await stage[Symbol.asyncDispose]();
});

async function fieldOfPod(app: string, path: string): Promise<string> {
  return (await stage.kubectlOut('get', 'pod', '-l', `app=${app}`, '-o', `jsonpath={.items[0]${path}}`)).trim();
}

async function statusFromCaller(url: string): Promise<string> {
  return (await stage.kubectlOut('exec', 'deploy/caller', '--', '/usr/bin/node', '/opt/examples/main.js', 'get', url)).trim();
}

test('a Job ends although its pod was injected', async (t) => {
  await stage.kubectlOut('wait', 'job/errand', '--for=condition=Complete', '--timeout=60s');
  t.is(await fieldOfPod('errand', '.metadata.labels.kpeering\\.io/injected'), 'true');
  t.is(await fieldOfPod('errand', '.status.phase'), 'Succeeded');
  t.is(await fieldOfPod('errand', '.spec.initContainers[1].name'), 'kpeering');
});

test('a pod that runs as a user that is not root runs injected, in each mode', async (t) => {
  t.is(await fieldOfPod('nonroot', '.metadata.labels.kpeering\\.io/injected'), 'true');
  t.regex(await statusFromCaller('http://nonroot/status'), /^200 server on nonroot-\S+ is well$/u);
  const redirect = await onLaptop(stage, kpctl(stage, 'inject', 'nonroot', '--set', 'mode=redirect'));
  t.is(redirect.stdout, 'deployment/nonroot is injected: 1 pod\n', redirect.stderr);
  t.regex(await statusFromCaller('http://nonroot/status'), /^200 server on nonroot-\S+ is well$/u);
});

/** Whether the kubelet calls each of the pod's three apps ready: `true` or `false`, in the order of their names: grpc, http, tcp. */
async function readiness(): Promise<string> {
  return await fieldOfPod('probed', '.status.containerStatuses[*].ready');
}

/** Waits until the kubelet says so of one container. */
async function becomes(container: string, ready: boolean): Promise<void> {
  const path = `jsonpath={.status.containerStatuses[?(@.name=="${container}")].ready}=${ready}`;
  await stage.kubectlOut('wait', 'pod', '-l', 'app=probed', `--for=${path}`, '--timeout=30s');
}

async function endListener(container: string): Promise<void> {
  const program = ['/usr/bin/node', '-e', 'process.kill(1, "SIGUSR2")'];
  await stage.kubectlOut('exec', 'deploy/probed', '-c', container, '--', ...program);
}

test('probes of all three kinds tell of the app in the pod, not of the laptop, while its ports are claimed', async (t) => {
  t.is(await fieldOfPod('probed', '.metadata.labels.kpeering\\.io/injected'), 'true');
  t.is(await readiness(), 'true true true');
  await using local: Running = startOnLaptop(stage, [...stage.example, 'server', '0']);
  const port = /\d+$/u.exec(await local.waitForLine(/listens on/u))?.[0] ?? '';
  const mappings = ['http', 'chat', 'grpc'].flatMap((remote) => ['--port', `${port}:${remote}`]);
  await using claim = startOnLaptop(stage, kpctl(stage, 'intercept', 'probed', ...mappings));
  await claim.waitForLine(/^ready$/u);
  const laptop = `200 server on ${(await onLaptop(stage, ['hostname'])).stdout.trim()} is well`;
  for (const remote of ['', ':7000']) t.is(await statusFromCaller(`http://probed${remote}/status`), laptop);
  t.is(await readiness(), 'true true true');

  // the laptop answers well, and the app in the pod does not: what counts is the app
  for (const container of ['tcp', 'grpc', 'http']) {
    await endListener(container);
    await becomes(container, false);
  }
  for (const remote of ['', ':7000']) t.is(await statusFromCaller(`http://probed${remote}/status`), laptop);
  // the liveness probe has the container started again, and then the startup probe finds the app
  const restarted = 'jsonpath={.status.containerStatuses[?(@.name=="http")].restartCount}=1';
  await stage.kubectlOut('wait', 'pod', '-l', 'app=probed', `--for=${restarted}`, '--timeout=40s');
  await becomes('http', true);
  t.is(await readiness(), 'false true false');
  claim.kill('SIGINT');
  await claim.exited;
});

test('in a namespace that enforces baseline: inject refuses beforehand, and a labelled pod starts as it is and says why', async (t) => {
  await using guarded = await openClusterStage('baseline', ['test/e2e/guarded.yaml'], (line) => t.log(line), {
    'pod-security.kubernetes.io/enforce': 'baseline',
  });
  const generation = async (): Promise<string> => await guarded.kubectlOut('get', 'deploy/plain', '-o', 'jsonpath={.metadata.generation}');
  const before = await generation();
  const refused = await onLaptop(guarded, kpctl(guarded, 'inject', 'plain'));
  t.is(refused.code, 1);
  t.regex(
    refused.stderr,
    /deployment\/plain would not be injected: the namespace \S+ enforces the Pod Security level baseline.*\[INJECT_POD_SECURITY\]/u,
  );
  t.is(await generation(), before);

  const ready = await guarded.kubectlOut('get', 'pod', '-l', 'app=labelled', '-o', 'jsonpath={.items[0].status.containerStatuses[*].name}');
  t.is(ready.trim(), 'http');
  const annotation = await guarded.kubectlOut(
    'get',
    'pod',
    '-l',
    'app=labelled',
    '-o',
    'jsonpath={.items[0].metadata.annotations.kpeering\\.io/not-injected}',
  );
  t.regex(annotation.trim(), /enforces the Pod Security level baseline .*\[INJECT_POD_SECURITY\]$/u);
  const events = await guarded.kubectlOut(
    'get',
    'events',
    '--field-selector',
    'reason=NotInjected',
    '-o',
    'jsonpath={range .items[*]}{.involvedObject.kind} {.message}{"\\n"}{end}',
  );
  t.regex(events, /^Deployment .*\[INJECT_POD_SECURITY\]$/mu);
  const list = await onLaptop(guarded, kpctl(guarded, 'list'));
  t.regex(list.stdout, /^deployment\/labelled .* none \(refused: INJECT_POD_SECURITY\)/mu);
  t.regex((await onLaptop(guarded, kpctl(guarded, 'intercept', 'labelled', '--port', '8080'))).stderr, /\[SIDECAR_MISSING\]/u);
});
