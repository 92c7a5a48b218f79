import test from 'ava';
import type { Running } from '../../src/kpctl/demo/processes.ts';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { openClusterStage, replaceManifest, type ClusterStage } from './cluster-stage.ts';
import { leftOnLaptop } from './laptop-state.ts';

/** A worker pulls five jobs a second. */
const JOBS = 20;

let stage: ClusterStage;
/** The template of the worker as its manifest has it. */
let template: string;

test.before(async (t) => {
  stage = await openClusterStage('replace', [replaceManifest], (line) => t.log(line));
  template = await workerTemplate();
});
test.afterEach.always(async (t) => {
  if (!t.passed) t.log((await stage.kubectl('get', 'pods,leases', '-o', 'wide')).stdout);
});
test.after.always(async () => {
  await stage[Symbol.asyncDispose]();
});

async function workerTemplate(): Promise<string> {
  return await stage.kubectlOut('get', 'deployment/worker', '-o', 'jsonpath={.metadata.labels} {.spec.template}');
}

function replace(workload: string, ...container: string[]): Running {
  return startOnLaptop(stage, kpctl(stage, 'intercept', workload, '--yes', '--replace', ...container));
}

/** A rollout may take longer than a line is usually waited for. */
async function line(running: Running, pattern: RegExp): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await running.waitForLine(pattern);
    } catch (error) {
      if (attempt === 4 || !String(error).includes('time was up')) throw error;
    }
  }
}

async function asked(path: string): Promise<string> {
  const program = 'fetch(process.argv[1]).then((response) => response.text()).then((text) => process.stdout.write(text))';
  return await stage.kubectlOut('exec', 'deploy/queue', '--', '/usr/bin/node', '-e', program, `http://localhost:8080${path}`);
}

/** Who pulls the next jobs. */
async function pulling(): Promise<readonly string[]> {
  const names = (await asked(`/pulled?from=${(await asked('/next')).trim()}&count=${JOBS}`)).trim().split('\n');
  return [...new Set(names)].toSorted();
}

async function workerPods(): Promise<readonly string[]> {
  const names = await stage.kubectlOut(
    'get',
    'pods',
    '-l',
    'app=worker',
    '--field-selector',
    'status.phase=Running',
    '-o',
    'jsonpath={.items[*].metadata.name}',
  );
  return names.trim().split(' ').toSorted();
}

test.serial(
  'while a worker is replaced it pulls nothing, and the local one does, with its environment; then the original is back',
  async (t) => {
    t.deepEqual(await pulling(), await workerPods());
    await using running = replace('worker');
    await line(running, /^ready$/);
    t.true(
      running.lines.some((text) => text.includes('its 2 pods are restarted now, and again at the end')),
      running.lines.join('\n'),
    );
    const script = `exec ${stage.node} ${stage.inCheckout('test/e2e/traffic/queue.ts')} work "$QUEUE_URL" "local for $POD"`;
    await using local = startOnLaptop(stage, kpctl(stage, 'run', '-w', 'deployment/worker', '-c', 'worker', '--', 'sh', '-c', script));
    await line(local, /^job \d+$/);
    const [only = '', ...others] = await pulling();
    t.deepEqual(others, []);
    t.regex(only, /^local for worker-/);

    const second = await replace('worker').exited;
    t.is(second.code, 1);
    t.regex(second.stderr, /container worker of deployment\/worker is replaced by \S+@\S+ .*since 20.*\[REPLACE_HELD\]/);

    local.kill('SIGTERM');
    await local.exited;
    running.kill('SIGINT');
    t.is((await running.exited).code, 130);
    t.is(await workerTemplate(), template);
    t.deepEqual(await pulling(), await workerPods());
    t.is((await stage.kubectlOut('get', 'leases', '-o', 'name')).trim(), '');
  },
);

test.serial('kpctl is killed: the operator puts the original back within a minute', async (t) => {
  await using running = replace('worker', 'worker');
  await line(running, /^ready$/);
  const generation = Number(await stage.kubectlOut('get', 'deployment/worker', '-o', 'jsonpath={.metadata.generation}'));
  running.kill('SIGKILL');
  await running.exited;
  const killed = performance.now();
  await stage.kubectlOut('wait', 'deployment/worker', `--for=jsonpath={.metadata.generation}=${generation + 1}`, '--timeout=60s');
  t.log(`put back ${Math.round((performance.now() - killed) / 1000)} s after SIGKILL`);
  await stage.kubectlOut('rollout', 'status', 'deployment/worker', '--timeout=60s');
  t.is(await workerTemplate(), template);
  t.deepEqual(await pulling(), await workerPods());
  t.log(`it pulls again ${Math.round((performance.now() - killed) / 1000)} s after SIGKILL`);
  t.is((await stage.kubectlOut('get', 'leases', '-o', 'name')).trim(), '');
  t.regex(await stage.kubectlOut('get', 'events', '--field-selector', 'reason=ReplacementEnded'), /deployment\/worker/);
});

test.serial('what cannot be replaced is refused, with what to do, and nothing is changed', async (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['sts/ondelete', /OnDelete.*set it to RollingUpdate.*\[REPLACE_REFUSED\]/],
    ['rs/bareset', /leaves its pods as they are.*Deployment, a StatefulSet or a DaemonSet.*\[REPLACE_REFUSED\]/],
    ['job/job', /suspend it meanwhile.*\[REPLACE_REFUSED\]/],
    ['pod/alone', /let a Deployment make it.*\[REPLACE_REFUSED\]/],
  ];
  for (const [workload, expected] of cases) {
    const outcome = await replace(workload).exited;
    t.is(outcome.code, 1, workload);
    t.regex(outcome.stderr, expected);
  }
  const unknown = await replace('worker', 'wrker').exited;
  t.is(unknown.code, 2);
  t.regex(unknown.stderr, /has no container "wrker" \(its containers are worker\).*\[CONTAINER_UNKNOWN\]/);
  const unasked = await onLaptop(stage, kpctl(stage, 'intercept', 'worker', '--replace'));
  t.is(unasked.code, 2);
  t.regex(unasked.stderr, /\[CONFIRMATION_REQUIRED\]/);
  t.is(await workerTemplate(), template);
});

test.serial('nothing is left on the laptop', async (t) => {
  // the next command removes the socket of the killed one
  await onLaptop(stage, [...stage.kpctl, 'status']);
  t.deepEqual(await leftOnLaptop(stage, stage.before), []);
});
