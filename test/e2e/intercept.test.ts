import test from 'ava';
import { z } from 'zod';
import type { Outcome, Running } from '../../src/kpctl/demo/processes.ts';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { openClusterStage, type ClusterStage } from './cluster-stage.ts';
import { leftOnLaptop } from './laptop-state.ts';

const developer = 'e2e-developer';
const viewer = 'e2e-viewer';

let stage: ClusterStage;
/** The example's server on the laptop, and its port. */
let local: Running;
let port: string;
/** The laptop's `user@host`, and what its server answers. */
let laptop: string;
let answeredByLaptop: string;
const answeredByPod = /^200 server on server-\S+ is well$/;

test.before(async (t) => {
  stage = await openClusterStage('intercept', ['test/e2e/rights.yaml', 'deploy/examples/http.yaml', 'deploy/gateway.yaml'], (line) =>
    t.log(line),
  );
  await stage.kubectlOut('scale', 'deployment/server', '--replicas=2');
  await stage.kubectlOut('rollout', 'status', 'deployment/server', '--timeout=60s');
  local = startOnLaptop(stage, [...stage.example, 'server', '0']);
  port = /\d+$/.exec(await local.waitForLine(/listens on/))?.[0] ?? '';
  const host = (await onLaptop(stage, ['hostname'])).stdout.trim();
  laptop = `${(await onLaptop(stage, ['id', '-un'])).stdout.trim()}@${host}`;
  answeredByLaptop = `200 server on ${host} is well`;
});
test.after.always(async () => {
  await stage[Symbol.asyncDispose]();
});

function intercept(workload: string, ...options: string[]): Running {
  return startOnLaptop(stage, kpctl(stage, 'intercept', workload, '--port', `${port}:http`, ...options));
}

/** Ctrl-C, so that the claims end at once; answers the exit code. */
async function interrupted(program: Running): Promise<number> {
  program.kill('SIGINT');
  return (await program.exited).code;
}

async function pods(): Promise<{ name: string; ip: string }[]> {
  const form = 'jsonpath={range .items[*]}{.metadata.name} {.status.podIP} {.metadata.deletionTimestamp}{"\\n"}{end}';
  const lines = (await stage.kubectlOut('get', 'pods', '-l', 'app=server', '-o', form)).trim().split('\n');
  return lines.map((line) => line.split(' ')).flatMap(([name = '', ip = '', deleted = '']) => (deleted === '' ? [{ name, ip }] : []));
}

/** Who answers `http://TARGET/status` to a caller in another pod. */
async function askedFromPod(target: string): Promise<string> {
  const program = ['/usr/bin/node', '/opt/examples/main.js', 'get', `http://${target}/status`];
  const outcome = await stage.kubectl('exec', 'deploy/client', '-c', 'client', '--', ...program);
  return outcome.stdout.trim();
}

const rowsSchema = z.array(
  z.object({
    workload: z.string(),
    claims: z.array(
      z.object({
        pod: z.string(),
        claims: z.array(z.object({ port: z.number(), holder: z.object({ name: z.string(), user: z.string().optional() }) })),
      }),
    ),
  }),
);

/** `POD PORT USER@HOST API-USER` of each claim that `kpctl list` knows of `deployment/server`. */
async function claims(...options: string[]): Promise<string[]> {
  const outcome = await onLaptop(stage, kpctl(stage, 'list', '-o', 'json', ...options));
  if (outcome.code !== 0) throw new Error(outcome.stderr);
  const row = rowsSchema.parse(JSON.parse(outcome.stdout)).find(({ workload }) => workload === 'deployment/server');
  return (row?.claims ?? [])
    .flatMap((pod) => pod.claims.map((claim) => `${pod.pod} ${claim.port} ${claim.holder.name} ${claim.holder.user}`))
    .sort();
}

test('with the rights that the README names, and no more: both replicas are claimed, and the callers of each reach the laptop', async (t) => {
  const replicas = await pods();
  t.is(replicas.length, 2);
  await using running = intercept('server', '--as', developer);
  await running.waitForLine(/^ready$/);
  const expected = replicas.map(({ name }) => `${name} :8080 → 127.0.0.1:${port}`);
  t.deepEqual(running.lines.filter((line) => line.includes('→')).sort(), expected.sort());
  t.deepEqual(await claims('--as', developer), replicas.map(({ name }) => `${name} 8080 ${laptop} ${developer}`).sort());
  for (const { ip } of replicas) t.is(await askedFromPod(`${ip}:8080`), answeredByLaptop);

  // the caller in the cluster is the laptop itself, and its Service and pod addresses are known without the right to read nodes
  const script = `curl -sS http://server/status && curl -sS http://${replicas[0]?.ip}:8080/status`;
  const run = await onLaptop(stage, kpctl(stage, 'run', '--as', developer, '--', 'sh', '-c', script));
  t.deepEqual(run.stdout.trim().split('\n'), Array<string>(2).fill(answeredByLaptop.slice('200 '.length)), run.stderr);

  t.is(await interrupted(running), 130);
  for (const { ip } of replicas) t.regex(await askedFromPod(`${ip}:8080`), answeredByPod);
});

test('all or nothing: a pod that somebody else holds is named with its holder, and the other pod is released', async (t) => {
  // pods are claimed in the order of their names: the first one is held already when the second refuses
  const [, second] = await pods();
  await using held = intercept(`pod/${second?.name}`, '--as', developer);
  await held.waitForLine(/^ready$/);
  const refused = await intercept('server').exited;
  t.is(refused.code, 1);
  t.is(refused.stdout, '');
  t.true(
    refused.stderr.includes(`port 8080 of pod ${second?.name} is claimed by ${laptop} (API user "${developer}") since 20`),
    refused.stderr,
  );
  t.deepEqual(await claims(), [`${second?.name} 8080 ${laptop} ${developer}`]);
  t.is(await interrupted(held), 130);
});

test('without the right to port-forward: the message names the verb and the resource', async (t) => {
  const outcomes: Outcome[] = await Promise.all([
    intercept('server', '--as', viewer).exited,
    onLaptop(stage, kpctl(stage, 'run', '--as', viewer, '--', 'true')),
  ]);
  t.deepEqual(
    outcomes.map(({ code }) => code),
    [1, 125],
  );
  for (const { stderr } of outcomes) {
    t.regex(stderr, /^kpctl: .*cannot create resource "pods\/portforward"/m);
    t.true(stderr.includes(`ask for the right to create pods/portforward in namespace ${stage.namespace}`), stderr);
    t.notRegex(stderr, /^ +at /m);
  }
});

test('status shows the intercept, and leave ends it from another terminal', async (t) => {
  await using running = intercept('server');
  await running.waitForLine(/^ready$/);
  const status = await onLaptop(stage, [...stage.kpctl, 'status']);
  t.is(status.stdout.match(/ server-\S+ +up +8080 /g)?.length, 2, status.stdout);
  const left = await onLaptop(stage, [...stage.kpctl, 'leave', 'deploy/server', '-n', stage.namespace]);
  t.is(left.code, 0, left.stderr);
  t.is((await running.exited).code, 0);
  t.deepEqual(await claims(), []);
});

test('when the sidecar starts again its claims are taken again', async (t) => {
  const [first] = await pods();
  const name = first?.name ?? '';
  await using running = intercept(`pod/${name}`);
  await running.waitForLine(/^ready$/);
  await stage.kubectlOut('exec', name, '-c', 'kpeering', '--', '/usr/bin/node', '-e', 'process.kill(1, "SIGTERM")');
  await running.waitForLine(new RegExp(`^${name}: the tunnel was lost .*reconnecting$`));
  await running.waitForLine(new RegExp(`^${name}: reconnected$`));
  await running.waitForLine(new RegExp(`^${name}: port 8080 is claimed again$`));
  t.is(await askedFromPod(`${first?.ip}:8080`), answeredByLaptop);
  t.is(await interrupted(running), 130);
  // the kubelet's report may come later
  await stage.kubectlOut('wait', `pod/${name}`, '--for=jsonpath={.status.initContainerStatuses[1].restartCount}=1', '--timeout=30s');
  await stage.kubectlOut('wait', `pod/${name}`, '--for=condition=Ready', '--timeout=30s');
});

test('when an intercepted pod is deleted its successor is claimed, and the other pod stays intercepted', async (t) => {
  const [first, second] = await pods();
  await using running = intercept('server');
  await running.waitForLine(/^ready$/);
  await stage.kubectlOut('delete', 'pod', first?.name ?? '', '--wait=false');
  await running.waitForLine(new RegExp(`^${first?.name}: the pod is gone`));
  t.is(await askedFromPod(`${second?.ip}:8080`), answeredByLaptop);
  const [successor] = (await running.waitForLine(/: a new pod; its port 8080 is claimed$/)).split(':');
  const known = await pods();
  t.is(await askedFromPod(`${known.find(({ name }) => name === successor)?.ip}:8080`), answeredByLaptop);
  t.is(await interrupted(running), 130);
});

test('nothing is left on the laptop', async (t) => {
  await local[Symbol.asyncDispose]();
  t.deepEqual(await leftOnLaptop(stage, stage.before), []);
});
