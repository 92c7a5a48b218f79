import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { followManifest, openClusterStage, type ClusterStage } from './cluster-stage.ts';
import { openInterceptStage, type InterceptStage } from './intercept-stage.ts';
import { leftOnLaptop } from './laptop-state.ts';

let stage: ClusterStage;
let play: InterceptStage & AsyncDisposable;

test.before(async (t) => {
  stage = await openClusterStage('follow', [followManifest], (line) => t.log(line));
  await stage.kubectlOut('wait', 'pods', '--all', '--for=condition=Ready', '--timeout=90s');
  play = await openInterceptStage(stage);
});
test.after.always(async () => {
  await play[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

async function rolledOut(): Promise<void> {
  await stage.kubectlOut('rollout', 'status', 'deployment/web', '--timeout=90s');
}

/** By the API, as `kubectl drain` does it. */
async function evict(pod: string): Promise<void> {
  const file = join(stage.temporary, 'eviction.json');
  const { namespace } = stage;
  await writeFile(file, JSON.stringify({ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: pod, namespace } }));
  await stage.kubectlOut('create', '--raw', `/api/v1/namespaces/${namespace}/pods/${pod}/eviction`, '-f', file);
}

test('the pods of a StatefulSet, a DaemonSet, a ReplicaSet, a Job, and a Pod are claimed', async (t) => {
  const kinds = {
    'statefulset/db': 'db',
    'daemonset/agent': 'agent',
    'replicaset/bare': 'bare',
    'job/batch': 'batch',
    'pod/alone': 'alone',
  };
  async function claimed([workload, app]: readonly [string, string]): Promise<void> {
    const [pod] = await play.pods(app);
    await using running = await play.intercept(workload, '--port', `${play.port}:http`);
    t.is(await play.asked(`${pod?.ip}:8080`), play.laptop, workload);
    await play.leave(running);
    t.is(await play.asked(`${pod?.ip}:8080`), pod?.name ?? '', workload);
  }
  await Promise.all(Object.entries(kinds).map(claimed));
});

test('a Service by its port, a headless one by the number of the pods, and several ports by name: in every pod', async (t) => {
  const pods = await play.pods('web');
  t.is(pods.length, 3);
  const asked = async (port: number): Promise<string[]> => await Promise.all(pods.map(async ({ ip }) => await play.asked(`${ip}:${port}`)));
  const laptop = pods.map(() => play.laptop);
  const cases = { 'service/web': ['80'], 'service/headless': ['8080'], web: ['http', 'other'] };
  for (const [workload, remotes] of Object.entries(cases)) {
    await using running = await play.intercept(workload, ...remotes.flatMap((remote) => ['--port', `${play.port}:${remote}`]));
    t.deepEqual(await asked(8080), laptop, workload);
    if (workload === 'web') t.deepEqual(await asked(8081), laptop, workload);
    await play.leave(running);
  }
});

test('a rollout during an intercept: callers of the Service see no error, and every answer is from the laptop', async (t) => {
  await using running = await play.intercept('web', '--port', `${play.port}:http`);
  const before = await play.pods('web');
  await using calls = play.calls('web', 600, 30);
  await calls.waitForLine(/^60 done$/u);
  await stage.kubectlOut('rollout', 'restart', 'deployment/web');
  await rolledOut();
  const { failures, answered } = await play.answers(calls);
  t.deepEqual(failures, []);
  t.deepEqual(answered, { [play.laptop]: 600 });
  const after = await play.pods('web');
  for (const { name } of before) await running.waitForLine(new RegExp(`^${name}: the pod is gone$`, 'u'));
  for (const { name } of after) await running.waitForLine(new RegExp(`^${name}: a new pod; its port 8080 is claimed$`, 'u'));
  t.deepEqual(
    running.lines.filter((line) => /lost|trying/u.test(line)),
    [],
  );
  await play.leave(running);
});

test('scaled to zero and back: the intercept waits, and the pods that come are claimed before their first caller', async (t) => {
  await using running = await play.intercept('web', '--port', `${play.port}:http`);
  await stage.kubectlOut('scale', 'deployment/web', '--replicas=0');
  await running.waitForLine(/^deployment\/web has no pods now: waiting for the next$/u);
  await using status = startOnLaptop(stage, [...stage.kpctl, 'status']);
  t.regex((await status.exited).stdout, /deployment\/web/u);
  await stage.kubectlOut('scale', 'deployment/web', '--replicas=3');
  await rolledOut();
  const pods = await play.pods('web');
  for (const { name } of pods) await running.waitForLine(new RegExp(`^${name}: a new pod; its port 8080 is claimed$`, 'u'));
  for (const { ip } of pods) t.is(await play.asked(`${ip}:8080`), play.laptop);
  await play.leave(running);
  for (const { name, ip } of pods) t.is(await play.asked(`${ip}:8080`), name);
});

test('an evicted pod is intercepted as long as it serves, then its successor is', async (t) => {
  const [pod] = await play.pods('web');
  const { name = '', ip = '' } = pod ?? {};
  await using running = await play.intercept('web', '--port', `${play.port}:http`);
  const known = new Set((await play.pods('web')).map((one) => one.name));
  await evict(name);
  // its preStop hook holds the application for two seconds
  t.is(await play.asked(`${ip}:8080`), play.laptop);
  t.false(running.lines.includes(`${name}: the pod is gone`));
  await running.waitForLine(new RegExp(`^${name}: the pod is gone$`, 'u'));
  const [successor = ''] = (await running.waitForLine(/: a new pod; its port 8080 is claimed$/u)).split(':');
  t.false(known.has(successor));
  await rolledOut();
  t.is(await play.asked('web'), play.laptop);
  await play.leave(running);
});

test("a StatefulSet's pod of the same name again is another pod: it is claimed anew", async (t) => {
  const [before] = await play.pods('db');
  await using running = await play.intercept('sts/db', '--port', `${play.port}:http`);
  await stage.kubectlOut('delete', 'pod', 'db-0'); // until it is gone
  await running.waitForLine(/^db-0: the pod is gone$/u);
  await running.waitForLine(/^db-0: a new pod; its port 8080 is claimed$/u);
  await stage.kubectlOut('wait', 'pod/db-0', '--for=condition=Ready', '--timeout=30s');
  const [after] = await play.pods('db');
  t.not(after?.uid, before?.uid);
  t.is(await play.asked(`${after?.ip}:8080`), play.laptop);
  await play.leave(running);
});

test("a Job's pod ends although it has a sidecar: the intercept says so, and waits", async (t) => {
  const [pod] = await play.pods('batch');
  await using running = await play.intercept('job/batch', '--port', `${play.port}:http`);
  await stage.kubectlOut('exec', pod?.name ?? '', '-c', 'batch', '--', '/usr/bin/node', '-e', 'process.kill(1, "SIGTERM")');
  t.truthy(await running.waitForLine(new RegExp(`^${pod?.name}: the pod has ended$`, 'u')));
  await running.waitForLine(/^job\/batch has no pods now: waiting for the next$/u);
  await stage.kubectlOut('wait', 'job/batch', '--for=condition=Complete', '--timeout=30s');
  await play.leave(running);
});

test('no ready pod at the start: it says so, and what to do', async (t) => {
  const outcome = await onLaptop(stage, kpctl(stage, 'intercept', 'job/batch', '--port', `${play.port}:8080`));
  t.is(outcome.code, 1);
  t.regex(outcome.stderr, /job\/batch in namespace \S+ has no ready pod.*\[NO_READY_POD\]/u);
});

test('nothing is left on the laptop', async (t) => {
  await play[Symbol.asyncDispose]();
  t.deepEqual(await leftOnLaptop(stage, stage.before), []);
});
