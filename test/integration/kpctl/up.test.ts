import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { upStatusSchema } from '../../../src/kpctl/control/messages.ts';
import { run, type Outcome } from '../../../src/kpctl/demo/processes.ts';
import { ports } from '../../../src/platform/ports.ts';
import { requireProgram } from '../../../src/platform/programs.ts';
import { labSuite } from '../../harness/lab-suite.ts';
import { deployment, service } from './manifests.ts';
import { eventually, messages, Stage } from './stage.ts';

const gateway = readFileSync(new URL('../../../deploy/gateway.yaml', import.meta.url), 'utf8');
const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** `kpctl up` changes a whole machine: here the lab's laptop, whose /var/lib and /etc/resolv.conf are its own. */
const suite = await labSuite(import.meta.filename, async () => {
  assert.equal(process.getuid?.(), 0, 'these tests need root: the agent of "kpctl up" has a group of its own');
  const stage = await Stage.open(deployment({ name: 'web' }) + service('web') + gateway);
  await onLaptop(stage, 'mount', '-t', 'tmpfs', 'tmpfs', '/var/lib');
  await onLaptop(stage, 'umount', '/etc/resolv.conf');
  return stage;
});

/** No test leaves its `up` to the next. */
function test(title: string, body: (stage: Stage) => Promise<void>): void {
  suite(title, async (stage) => {
    try {
      await body(stage);
    } finally {
      await stage.kpctl(['down']);
    }
  });
}

/** The last line says what is wrong; lines of progress may be before it. */
function assertFailed(outcome: Outcome, code: number, line: RegExp): void {
  assert.match(outcome.stderr.trimEnd().split('\n').at(-1) ?? '', line);
  assert.deepEqual([outcome.code, outcome.stdout], [code, '']);
}

/** A program on the laptop that must succeed; its stdout. */
async function onLaptop(stage: Stage, ...argv: string[]): Promise<string> {
  const outcome = await attempt(stage, ...argv);
  assert.equal(outcome.code, 0, `${argv.join(' ')}: ${outcome.stderr}`);
  return outcome.stdout;
}

async function attempt(stage: Stage, ...argv: string[]): Promise<Outcome> {
  return await run([...stage.lab.laptop.prefix, ...argv], { ...stage.environment, PATH: systemPath });
}

/** What `up` may change. (Link-local routes come when the kernel is done with looking for duplicates.) */
async function machineOf(stage: Stage): Promise<string> {
  const script =
    'nft list ruleset; ip rule; ip -6 rule; ip route show table all | grep -v fe80; ip -brief link; cat /etc/resolv.conf; ls -A /var/lib';
  return await onLaptop(stage, 'sh', '-c', script);
}

async function get(stage: Stage, url: string): Promise<Outcome> {
  return await run([...stage.lab.laptop.prefix, ...stage.example, 'get', url], stage.environment);
}

/** The present `up`, as `kpctl status` tells of it. */
async function upOf(stage: Stage): Promise<z.infer<typeof upStatusSchema> | undefined> {
  const outcome = await stage.kpctl(['status', '-o', 'json']);
  const [up] = z.array(upStatusSchema).parse(JSON.parse(outcome.stdout));
  return up;
}

/** The helper is the agent's parent. */
async function helperOf(stage: Stage): Promise<{ agent: number; helper: number }> {
  const agent = (await upOf(stage))?.pid ?? 0;
  return { agent, helper: Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${agent}/status`, 'utf8'))?.[1]) };
}

test('a cluster that cannot be joined changes nothing', async (stage) => {
  const before = await machineOf(stage);
  assertFailed(await stage.kpctl(['up', '-w', 'nothing']), 1, /no workload "nothing".*\[WORKLOAD_NOT_FOUND\]$/);
  assertFailed(await stage.kpctl(['up'], { kubeconfig: '/no/such/file' }), 1, /\[KUBECONFIG_MISSING\]$/);
  assertFailed(await stage.kpctl(['up', '--also', '10.0.0.0/33']), 2, /--also 10\.0\.0\.0\/33 .*\[NETWORK_INVALID\]$/);
  assert.equal(await machineOf(stage), before);
  assert.deepEqual(await stage.kpctl(['down']), { code: 0, stdout: 'kpctl is not up\n', stderr: '' });
});

test('up ends when names and flows work, status shows what was joined, and down leaves the machine as it was', async (stage) => {
  const before = await machineOf(stage);
  const up = await stage.kpctl(['up', '--never', '10.99.0.0/16']);
  assert.equal(up.code, 0, up.stderr);
  assert.match(up.stdout, /^joined \S+ \(https:\S+\), namespace default, through the gateway \(pod default\/\S+\)\n/);
  assert.match(up.stdout, /\nnever captured: 10\.99\.0\.0\/16\n[^]*\nto undo: kpctl down\n$/);
  for (const host of ['web', 'web.default', 'web.default.svc.cluster.local']) {
    const answer = await get(stage, `http://${host}/status`);
    assert.match(answer.stdout, /^200 server on web-\S+ is well\n$/, `${host}: ${answer.stderr}`);
  }
  const status = await upOf(stage);
  assert.equal(status?.tunnel, 'up');
  assert.deepEqual(status?.names.search, ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local']);
  assert.equal(status?.exit.kind, 'gateway');
  assert.match((await stage.kpctl(['status'])).stdout, /^up: joined [^]*by spdy; \d+ flows?\n/);

  assertFailed(await stage.kpctl(['up']), 1, /joined a cluster already.*"kpctl down".*\[UP_RUNNING\]$/);
  const beside = await stage.kpctl(['run', '--', ...stage.example, 'get', 'http://web/status']);
  assert.match(beside.stdout, /^200 server on web-/, beside.stderr);

  const down = await stage.kpctl(['down']);
  assert.match(down.stdout, /^down: names and network are as before/);
  assert.equal(down.code, 0);
  assert.equal(await machineOf(stage), before);
  assert.equal(await upOf(stage), undefined);
});

test('with -w flows leave from a pod of the workload; Ctrl-C of --foreground leaves the machine as it was', async (stage) => {
  const before = await machineOf(stage);
  const up = stage.start(['up', '-w', 'web', '--foreground']);
  await up.waitForLine(/^to undo: Ctrl-C$/);
  const status = await upOf(stage);
  assert.deepEqual(status?.exit, { kind: 'workload', workload: 'deployment/web', pod: `default/${stage.pods('web')[0]}` });
  assert.match((await get(stage, 'http://web/status')).stdout, /^200 server on web-/);
  up.kill('SIGINT');
  assert.equal((await up.exited).code, 130);
  assert.equal(await machineOf(stage), before);
});

test('after a stop that the tunnel did not survive, names and flows work again within 5 s', async (stage) => {
  assert.equal((await stage.kpctl(['up'])).code, 0);
  const { agent, helper } = await helperOf(stage);
  const [pod = ''] = stage.lab.podNames('default', { 'kpeering.io/role': 'gateway' });
  const tunnels = async (): Promise<string> => {
    const words = ['-Htn', 'state', 'established', `( sport = :${ports.tunnel} )`];
    return (await run([...stage.lab.pod('default', pod).prefix, requireProgram('ss', 'iproute2'), ...words], { PATH: systemPath })).stdout;
  };
  assert.notEqual(await tunnels(), '');
  for (const process_ of [agent, helper]) process.kill(process_, 'SIGSTOP');
  await eventually('the gateway gives the tunnel up', async () => (await tunnels()) === '', 30_000);
  const began = performance.now();
  for (const process_ of [helper, agent]) process.kill(process_, 'SIGCONT');
  await eventually('a request is answered', async () => (await get(stage, 'http://web/status')).stdout.startsWith('200 '), 5_000);
  assert.ok(performance.now() - began < 5_000);
  assert.equal((await stage.kpctl(['down'])).code, 0);
});

test('what a killed up leaves is undone by the next command of root, which says so', async (stage) => {
  const before = await machineOf(stage);
  assert.equal((await stage.kpctl(['up'])).code, 0);
  const { agent, helper } = await helperOf(stage);
  process.kill(helper, 'SIGKILL');
  await eventually('the agent ends with its helper', () => !alive(agent));
  const next = await stage.kpctl(['version']);
  assert.match(messages(next).warnings.join('\n'), /a "kpctl up" of \S+ .* was killed .*; undone: .*resolv\.conf/);
  assert.equal(next.code, 0);
  assert.equal(await machineOf(stage), before);
  assert.deepEqual(messages(await stage.kpctl(['version'])), { warnings: [], others: [] });
});

test('an agent that is killed leaves nothing', async (stage) => {
  const before = await machineOf(stage);
  assert.equal((await stage.kpctl(['up'])).code, 0);
  process.kill((await helperOf(stage)).agent, 'SIGKILL');
  await eventually('the machine is as before', async () => (await machineOf(stage)) === before, 5_000);
  assert.equal(await upOf(stage), undefined);
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
