import test from 'ava';
import { z } from 'zod';
import type { Outcome, Running } from '../../src/kpctl/demo/processes.ts';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { injectManifest, openClusterStage, type ClusterStage } from './cluster-stage.ts';
import { steadyCalls } from './steady-calls.ts';

const injector = 'e2e-injector';

let stage: ClusterStage;

test.before(async (t) => {
  stage = await openClusterStage('inject', [injectManifest], (line) => t.log(line));
  for (const kind of ['statefulset/db', 'daemonset/agent']) await stage.kubectlOut('rollout', 'status', kind, '--timeout=60s');
  await stage.kubectlOut('wait', 'pod/manual-0', 'pod/alone', '--for=condition=Ready', '--timeout=60s');
});
test.afterEach.always(async (t) => {
  if (!t.passed) t.log(await stage.kubectlOut('get', 'pods', '-o', 'wide'));
});
test.after.always(async () => {
  await stage[Symbol.asyncDispose]();
});

async function run(subcommand: string, ...rest: string[]): Promise<Outcome> {
  return await onLaptop(stage, kpctl(stage, subcommand, ...rest));
}

/** The `kpeering.io/injected` labels of the pods of an app, in one word each. */
async function injected(app: string): Promise<string[]> {
  const form = `jsonpath={range .items[*]}{.metadata.deletionTimestamp}|{.metadata.labels.kpeering\\.io/injected}{"\\n"}{end}`;
  const lines = (await stage.kubectlOut('get', 'pods', '-l', `app=${app}`, '-o', form)).trim().split('\n');
  return lines.flatMap((line) => (line.startsWith('|') ? [line === '|true' ? 'injected' : 'plain'] : []));
}

const rowsSchema = z.array(z.object({ workload: z.string(), sidecar: z.string(), restartPending: z.boolean() }));

/** `SIDECAR` of `kpctl list`, by workload. */
async function listed(): Promise<Map<string, string>> {
  const outcome = await run('list', '-o', 'json');
  const rows = rowsSchema.parse(JSON.parse(outcome.stdout));
  return new Map(rows.map(({ workload, sidecar, restartPending }) => [workload, restartPending ? `${sidecar}, restart pending` : sidecar]));
}

test('a Deployment with a budget, a StatefulSet and a DaemonSet are injected and ejected, and no call of theirs fails meanwhile', async (t) => {
  const calls = ['web', 'db', 'agent'].map((host) => steadyCalls(stage, host));
  const workloads = ['web', 'sts/db', 'ds/agent'];
  const inject = await Promise.all(workloads.map(async (name) => run('inject', name, '--set', 'log-level=warn')));
  for (const { code, stderr } of inject) t.is(code, 0, stderr);
  t.deepEqual(inject.map(({ stdout }) => stdout.trim()).sort(), [
    'daemonset/agent is injected: 1 pod',
    'deployment/web is injected: 2 pods',
    'statefulset/db is injected: 2 pods',
  ]);
  for (const app of ['web', 'db', 'agent']) t.deepEqual([...new Set(await injected(app))], ['injected']);
  t.like(Object.fromEntries(await listed()), { 'deployment/web': 'injected', 'statefulset/db': 'injected', 'daemonset/agent': 'injected' });

  const eject = await Promise.all(workloads.map(async (name) => run('eject', name)));
  for (const { code, stderr } of eject) t.is(code, 0, stderr);
  for (const app of ['web', 'db', 'agent']) t.deepEqual([...new Set(await injected(app))], ['plain']);
  const template = 'jsonpath={.spec.template.metadata}';
  t.notRegex(await stage.kubectlOut('get', 'deployment/web', '-o', template), /kpeering/u);
  for (const call of calls) {
    const { answered, failures } = await call.stop();
    t.deepEqual(failures, []);
    t.log(JSON.stringify(answered));
    t.true(Object.values(answered).reduce((sum, one) => sum + one, 0) >= 150);
  }
});

test('what is injected already is said to be; pods that are older than their label are made anew', async (t) => {
  await stage.kubectlOut('scale', 'deployment/web', '--replicas=1');
  const first = await run('inject', 'web', '-o', 'json');
  t.is(first.code, 0, first.stderr);
  const [{ pods } = { pods: [] }] = z.array(z.object({ pods: z.array(z.string()) })).parse(JSON.parse(first.stdout));
  t.is(pods.length, 1);
  const before = await stage.kubectlOut('get', 'deployment/web', '-o', 'jsonpath={.metadata.generation}');
  const second = await run('inject', 'deploy/web', '-o', 'json');
  t.is(second.code, 0, second.stderr);
  t.like(JSON.parse(second.stdout), [{ workload: 'deployment/web', state: 'already', pending: [] }]);
  t.is(await stage.kubectlOut('get', 'deployment/web', '-o', 'jsonpath={.metadata.generation}'), before);

  // as if the pod had been made while there was no operator: it is asked for by the label, and has no sidecar
  await stage.kubectlOut('label', 'pod', ...pods, 'kpeering.io/injected-');
  const third = await run('inject', 'web');
  t.is(third.stdout, 'deployment/web is injected: 1 pod\n', third.stderr);
  t.not(await stage.kubectlOut('get', 'deployment/web', '-o', 'jsonpath={.metadata.generation}'), before);
});

test('with no right but to read and to patch: the same; one short, and the message names it', async (t) => {
  const allowed = await run('inject', 'web', '--set', 'log-level=error', '--as', injector);
  t.is(allowed.stdout, 'deployment/web is injected: 1 pod\n', allowed.stderr);
  const refused = await run('inject', 'web', '--set', 'log-level=info', '--as', 'e2e-nobody');
  t.is(refused.code, 1);
  t.regex(refused.stderr, /cannot get resource "\w+".*\[API_FORBIDDEN\]/u);
  await stage.kubectlOut('patch', 'role', 'e2e-injector', '--type=json', '-p', '[{"op":"remove","path":"/rules/0/verbs/3"}]');
  const without = await run('eject', 'web', '--as', injector);
  t.is(without.code, 1);
  t.regex(without.stderr, /ask for the right to patch deployments\.apps in namespace/u);
});

test('OnDelete: the label is set, the pods still to be replaced are listed, and nothing is waited for', async (t) => {
  const outcome = await run('inject', 'sts/manual');
  t.is(outcome.code, 0, outcome.stderr);
  t.regex(
    outcome.stdout,
    /^statefulset\/manual has the label; its update strategy is OnDelete.*delete pod NAME\nstill to be replaced: manual-0\n$/u,
  );
  t.is((await listed()).get('statefulset/manual'), 'none, restart pending');
  const intercept = await run('intercept', 'sts/manual', '--port', '3000:http', '--inject', '--yes');
  t.is(intercept.code, 1);
  t.regex(intercept.stderr, /still to be replaced: manual-0.*\[INJECT_PENDING\]/u);
  await stage.kubectlOut('delete', 'pod', 'manual-0');
  await stage.kubectlOut('wait', 'pod/manual-0', '--for=create', '--timeout=30s');
  await stage.kubectlOut('wait', 'pod/manual-0', '--for=condition=Ready', '--timeout=30s');
  t.is((await run('inject', 'sts/manual')).stdout, 'statefulset/manual is injected already\n');
});

test('what has no template that may be changed is refused, with what to do instead', async (t) => {
  await stage.kubectlOut('create', 'job', 'tonight', '--from=cronjob/nightly');
  const job = await run('inject', 'job/tonight');
  t.is(job.code, 1);
  t.regex(job.stderr, /does not allow it of a Job.*kubectl -n \S+ patch cronjob nightly .*\[INJECT_JOB_TEMPLATE\]/u);
  const pod = await run('inject', 'pod/alone');
  t.is(pod.code, 1);
  t.regex(pod.stderr, /create it again; or kpctl intercept with --ephemeral.*\[INJECT_BARE_POD\]/u);
  const set = (await stage.kubectlOut('get', 'rs', '-l', 'app=caller', '-o', 'name')).trim().replace('replicaset.apps', 'rs');
  const owned = await run('inject', set);
  t.regex(owned.stderr, /name that: deployment\/caller \[INJECT_OWNED\]/u);
  // the way that was named works
  const patch = /-p '([^']+)'/u.exec(job.stderr)?.[1] ?? '';
  await stage.kubectlOut('patch', 'cronjob', 'nightly', '--type', 'merge', '-p', patch);
  await stage.kubectlOut('create', 'job', 'tomorrow', '--from=cronjob/nightly');
  await stage.kubectlOut('wait', 'pod', '-l', 'job-name=tomorrow', '--for=create', '--timeout=30s');
  t.deepEqual([...(await injected('nightly'))].sort(), ['injected', 'plain']);
});

test('no pods, and a paused Deployment: the label is set, and that is said', async (t) => {
  await stage.kubectlOut('scale', 'deployment/web', '--replicas=0');
  const none = await run('eject', 'web');
  t.is(none.stdout, 'deployment/web is ejected; it has no pods now, and those that come will follow\n', none.stderr);
  await stage.kubectlOut('rollout', 'pause', 'deployment/web');
  await stage.kubectlOut('scale', 'deployment/web', '--replicas=1');
  await stage.kubectlOut('rollout', 'status', 'deployment/web', '--timeout=30s').catch(() => {});
  const paused = await run('inject', 'web');
  t.is(paused.code, 0, paused.stderr);
  t.regex(paused.stdout, /^deployment\/web has the label, and is paused: .* rollout resume deployment\/web"\n$/u);
  await stage.kubectlOut('rollout', 'resume', 'deployment/web');
  await stage.kubectlOut('rollout', 'status', 'deployment/web', '--timeout=60s');
  t.deepEqual(await injected('web'), ['injected']);
});

test('a rollout that cannot go on is told with its reason', async (t) => {
  await stage.kubectlOut('create', 'quota', 'full', '--hard=pods=1');
  await stage.kubectlOut('wait', 'quota/full', '--for=jsonpath={.status.used.pods}', '--timeout=30s');
  const stuck = await run('inject', 'deployment/caller', '--timeout', '6s');
  t.is(stuck.code, 1);
  t.regex(
    stuck.stderr,
    /the rollout of deployment\/caller is not over after 6 s.*exceeded quota.*kpctl eject deployment\/caller.*\[ROLLOUT_TIMEOUT\]/u,
  );
  await stage.kubectlOut('delete', 'quota', 'full');
  const back = await run('eject', 'deployment/caller');
  t.is(back.code, 0, back.stderr);
});

test('intercept of a workload without a sidecar: says the ways, and goes one of them', async (t) => {
  await using server = startOnLaptop(stage, [...stage.example, 'server', '0']);
  const local = /\d+$/u.exec(await server.waitForLine(/listens on/u))?.[0] ?? '';
  const refused = await run('intercept', 'sts/db', '--port', `${local}:http`);
  t.is(refused.code, 1);
  t.regex(refused.stderr, /kpctl inject statefulset\/db.*--inject --yes.*--ephemeral.*\[SIDECAR_MISSING\]/u);
  const unasked = await run('intercept', 'ds/agent', '--port', `${local}:http`, '--inject');
  t.is(unasked.code, 2);
  t.regex(
    unasked.stderr,
    /this restarts the pod of daemonset\/agent .*there is no terminal to ask at; agree with --yes \[CONFIRMATION_REQUIRED\]/u,
  );
  t.deepEqual(await injected('agent'), ['plain']);
  await using running: Running = startOnLaptop(
    stage,
    kpctl(stage, 'intercept', 'ds/agent', '--port', `${local}:http`, '--inject', '--yes'),
  );
  await running.waitForLine(/^ready$/u, { signal: AbortSignal.timeout(60_000) });
  const laptop = (await onLaptop(stage, ['hostname'])).stdout.trim();
  const answer = await stage.kubectlOut(
    'exec',
    'deploy/caller',
    '--',
    '/usr/bin/node',
    '/opt/examples/main.js',
    'get',
    'http://agent/status',
  );
  t.is(answer.trim(), `200 server on ${laptop} is well`);
  running.kill('SIGINT');
  t.is((await running.exited).code, 130);
});
