import test from 'ava';
import { kpctl, onLaptop } from '../../src/kpctl/demo/stage.ts';
import { openClusterStage, type ClusterStage } from './cluster-stage.ts';

let stage: ClusterStage;

test.before(async (t) => {
  stage = await openClusterStage('proof', ['test/e2e/proof.yaml'], (line) => t.log(line));
});
test.afterEach.always(async (t) => {
  if (!t.passed) t.log((await stage.kubectl('get', 'pods', '-o', 'wide')).stdout);
});
test.after.always(async () => {
  await stage[Symbol.asyncDispose]();
});

async function podOf(app: string): Promise<string> {
  return (await stage.kubectlOut('get', 'pods', '-l', `app=${app}`, '-o', 'jsonpath={.items[0].metadata.name}')).trim();
}

/** `True Proved`, when the operator has said so. */
async function captured(app: string, status: string): Promise<string> {
  const pod = await podOf(app);
  await stage.kubectlOut('wait', `pod/${pod}`, `--for=condition=kpeering.io/Captured=${status}`, '--timeout=60s');
  const form =
    'jsonpath={.status.conditions[?(@.type=="kpeering.io/Captured")].status} {.status.conditions[?(@.type=="kpeering.io/Captured")].reason}';
  return (await stage.kubectlOut('get', 'pod', pod, '-o', form)).trim();
}

async function isReady(app: string): Promise<boolean> {
  const form = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}';
  return (await stage.kubectlOut('get', 'pod', await podOf(app), '-o', form)).trim() === 'True';
}

/** Runs a script in a pod's network, with the right to change its rules; then the sidecar is started again. */
async function tamper(app: string, script: string): Promise<void> {
  const pod = await podOf(app);
  const debug = [
    'debug',
    pod,
    '--image',
    'kpeering/init:dev',
    '--image-pull-policy',
    'IfNotPresent',
    '--profile',
    'netadmin',
    '-c',
    'tamper',
  ];
  await stage.kubectlOut(...debug, '--', 'sh', '-c', script);
  await stage.kubectlOut(
    'wait',
    `pod/${pod}`,
    '--for=jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0',
    '--timeout=30s',
  );
  await stage.kubectlOut('exec', pod, '-c', 'kpeering', '--', '/usr/bin/node', '-e', 'process.kill(1, "SIGTERM")');
}

/** What the operator's replicas tell; the leader alone tells of proofs. */
async function operatorMetrics(): Promise<string> {
  const form = 'jsonpath={range .items[*]}{.metadata.namespace}/pods/{.metadata.name} {end}';
  const operators = await stage.kubectlOut(
    'get',
    'pods',
    '-A',
    '-l',
    'app.kubernetes.io/name=kpeering,app.kubernetes.io/component=operator',
    '-o',
    form,
  );
  const texts = await Promise.all(
    operators
      .trim()
      .split(' ')
      .map(async (operator) => (await stage.kubectl('get', '--raw', `/api/v1/namespaces/${operator}:15320/proxy/metrics`)).stdout),
  );
  return texts.join('');
}

test.serial('the operator proves the capture of injected pods, in both modes, after they have started', async (t) => {
  t.is(await captured('tproxy', 'True'), 'True Proved');
  t.is(await captured('redirect', 'True'), 'True Proved');
});

test.serial('it tells of a pod without rules, by a condition, an Event and a metric, and the pod is Ready all the same', async (t) => {
  t.is(await captured('byhand', 'False'), 'False NotCaptured');
  t.true(await isReady('byhand'));
  const pod = await podOf('byhand');
  const events = await stage.kubectlOut(
    'get',
    'events',
    '--field-selector',
    `reason=CaptureNotProved,involvedObject.name=${pod}`,
    '-o',
    'jsonpath={.items[*].message}',
  );
  t.regex(events, /a connection from the operator does not arrive at its kpeering: connection refused/);
  const metrics = await operatorMetrics();
  t.regex(metrics, /^kpeering_capture_pods\{state="not_captured"\} [1-9]/m);
  t.regex(metrics, /^kpeering_capture_proofs_total\{outcome="proved"\} [1-9]/m);
});

test.serial('it proves anew when the sidecar was started again: rules that somebody has deleted, and a way that is closed', async (t) => {
  t.is(await captured('flushed', 'True'), 'True Proved');
  t.is(await captured('walled', 'True'), 'True Proved');
  const wall =
    'nft "add table inet wall; add chain inet wall in { type filter hook input priority 0; }; add rule inet wall in tcp dport 15320 drop"';
  await Promise.all([tamper('flushed', 'nft flush ruleset'), tamper('walled', wall)]);
  const answers = await Promise.all([captured('flushed', 'False'), captured('walled', 'Unknown')]);
  t.deepEqual(answers, ['False NotCaptured', 'Unknown Unreachable']);
  const refused = await onLaptop(stage, kpctl(stage, 'intercept', 'flushed', '--port', '8080'));
  t.is(refused.code, 1);
  t.regex(refused.stderr, /\[CAPTURE_NOT_PROVED\]/);
});
