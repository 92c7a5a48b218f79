import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { withoutApiServer } from './api-server.ts';
import { openClusterStage, robustnessManifest, type ClusterStage } from './cluster-stage.ts';
import { openInterceptStage, type InterceptStage } from './intercept-stage.ts';
import { leftOnLaptop } from './laptop-state.ts';

const GIBIBYTE = 1024 ** 3;
/** After this long without a word from the far end a tunnel is lost (docs/protocol.md). */
const DEAD_MILLISECONDS = 6_000;
/** A claim outlives its tunnel by this. */
const GRACE_MILLISECONDS = 10_000;

let stage: ClusterStage;
let play: InterceptStage & AsyncDisposable;

test.before(async (t) => {
  stage = await openClusterStage('robustness', [robustnessManifest], (line) => t.log(line));
  play = await openInterceptStage(stage);
});
test.after.always(async () => {
  await play[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

const exchangeSchema = z.object({ equal: z.number(), failures: z.array(z.string()), milliseconds: z.number() });

test('a replica is deleted during a transfer of 1 GiB through another one: both directions arrive unchanged', async (t) => {
  const serve = [stage.node, stage.inCheckout('test/e2e/traffic/peer.ts'), 'serve', '0'];
  await using server = startOnLaptop(stage, serve);
  const local = /\d+$/u.exec(await server.waitForLine(/listens on/u))?.[0] ?? '';
  const [kept, deleted] = await play.pods('peer');
  await using running = await play.intercept('peer', '--port', `${local}:peer`);
  const exchange = [
    'exec',
    'deploy/caller',
    '--',
    '/usr/bin/node',
    '/traffic/peer.ts',
    'exchange',
    `${kept?.ip}:9000`,
    '1',
    String(GIBIBYTE),
  ];
  await using transfer = startOnLaptop(stage, ['kubectl', '-n', stage.namespace, ...exchange]);
  while (!(await flows()).includes(1)) await delay(100);
  await stage.kubectlOut('delete', 'pod', deleted?.name ?? '');
  await running.waitForLine(new RegExp(`^${deleted?.name}: the pod is gone$`, 'u'));
  await running.waitForLine(/: a new pod; its port 9000 is claimed$/u);
  t.true((await flows()).includes(1), 'the transfer was over before the pod was gone');
  const outcome = await transfer.exited;
  t.is(outcome.code, 0, outcome.stderr);
  const { equal, failures, milliseconds } = exchangeSchema.parse(JSON.parse(outcome.stdout));
  t.log(`${milliseconds} ms`);
  t.deepEqual(failures, []);
  t.is(equal, 1);
  await play.leave(running);
});

const statusSchema = z.array(z.object({ pods: z.array(z.object({ activeFlows: z.number() })) }));

/** Of each pod that is intercepted. */
async function flows(): Promise<number[]> {
  const { stdout } = await onLaptop(stage, [...stage.kpctl, 'status', '-o', 'json']);
  return statusSchema.parse(JSON.parse(stdout)).flatMap(({ pods }) => pods.map(({ activeFlows }) => activeFlows));
}

test('the API server stops for 7 s: the loss is told, callers wait, and the claim is the same when it is back', async (t) => {
  const [pod] = await play.pods('web');
  await using running = await play.intercept('web', '--port', `${play.port}:http`);
  await using calls = play.calls('web', 160, 10, 1);
  await calls.waitForLine(/^16 done$/u);
  let stopped = 0;
  await withoutApiServer(async () => {
    stopped = Date.now();
    await delay(7_000);
  });
  await running.waitForLine(new RegExp(`^${pod?.name}: the tunnel was lost`, 'u'));
  await running.waitForLine(new RegExp(`^${pod?.name}: reconnected$`, 'u'));
  await running.waitForLine(new RegExp(`^${pod?.name}: port 8080 is claimed again$`, 'u'));
  const { answered, failures } = await play.answers(calls);
  t.deepEqual(Object.keys(answered), [play.laptop]);
  assertLostWithTheTunnel(t, failures, stopped);
  await play.leave(running);
});

test('the API server stops for 40 s: pods serve on, callers reach the app once the claim has lapsed, and kpctl comes back by itself', async (t) => {
  const [pod] = await play.pods('web');
  await using running = await play.intercept('web', '--port', `${play.port}:http`);
  await using calls = play.calls('web', 600, 10, 1);
  await using calm = play.calls('calm', 600, 10);
  await Promise.all([calls.waitForLine(/^60 done$/u), calm.waitForLine(/^60 done$/u)]);
  let stopped = 0;
  await withoutApiServer(async () => {
    stopped = Date.now();
    await running.waitForLine(new RegExp(`^${pod?.name}: the tunnel was lost .*reconnecting$`, 'u'));
    await delay(stopped + 40_000 - Date.now());
  });
  await running.waitForLine(new RegExp(`^${pod?.name}: reconnected$`, 'u'));
  await running.waitForLine(new RegExp(`^${pod?.name}: port 8080 is claimed again$`, 'u'));
  const { turns, failures } = await play.answers(calls);
  const expected = [play.laptop, pod?.name ?? '', play.laptop];
  t.deepEqual(
    turns.map(({ by }) => by),
    expected,
  );
  const lapsed = (turns[1]?.from ?? 0) - stopped;
  t.true(lapsed <= GRACE_MILLISECONDS + 1_500, `the app answered ${lapsed} ms after the stop`);
  assertLostWithTheTunnel(t, failures, stopped);
  const undisturbed = await play.answers(calm);
  t.deepEqual(undisturbed.failures, []);
  t.is(undisturbed.turns.length, 1);
  // the watch is back, too
  await stage.kubectlOut('scale', 'deployment/web', '--replicas=2');
  await running.waitForLine(/: a new pod; its port 8080 is claimed$/u);
  await play.leave(running);
  await stage.kubectlOut('scale', 'deployment/web', '--replicas=1');
});

/** Only what was in the tunnel when it was lost fails. */
function assertLostWithTheTunnel(
  t: ExecutionContext,
  failures: readonly { readonly began: number; readonly error: string }[],
  stopped: number,
): void {
  const later = failures.filter(({ began }) => began > stopped + DEAD_MILLISECONDS + 1_500 || began < stopped - 1_000);
  t.deepEqual(later, []);
}

test('two developers on two ports of one workload; on the same port the second is told who holds it', async (t) => {
  await using other = startOnLaptop(stage, [...stage.example, 'dependency', '0']);
  const otherPort = /\d+$/u.exec(await other.waitForLine(/listens on/u))?.[0] ?? '';
  await using first = await play.intercept('web', '--port', `${play.port}:http`);
  await using second = await play.intercept('web', '--port', `${otherPort}:other`);
  const [pod] = await play.pods('web');
  t.is(await play.asked(`${pod?.ip}:8080`), play.laptop);
  const fromSecond = await stage.kubectl(
    'exec',
    'deploy/caller',
    '--',
    '/usr/bin/node',
    '/opt/examples/main.js',
    'get',
    `http://${pod?.ip}:8081/status`,
  );
  t.regex(fromSecond.stdout, /^200 dependency on /u);
  const refused = await onLaptop(stage, kpctl(stage, 'intercept', 'web', '--port', `${otherPort}:http`));
  t.is(refused.code, 1);
  t.regex(refused.stderr, new RegExp(`port 8080 of pod ${pod?.name} is claimed by \\S+@${play.laptop} .*since .*\\[PORT_HELD\\]`, 'u'));
  await Promise.all([play.leave(first), play.leave(second)]);
});

test('two developers in two namespaces, on workloads of the same name: each has the callers of the own one', async (t) => {
  await using neighbour = await openClusterStage('robustness-2', [robustnessManifest], (line) => t.log(line));
  await using theirs = await openInterceptStage(neighbour);
  const [mine, other] = [
    await play.intercept('web', '--port', `${play.port}:http`),
    await theirs.intercept('web', '--port', `${theirs.port}:http`),
  ];
  t.is(await play.asked('web'), play.laptop);
  t.is(await theirs.asked('web'), theirs.laptop);
  await play.leave(mine);
  const [app] = await play.pods('web');
  t.is(await play.asked('web'), app?.name ?? '');
  t.is(await theirs.asked('web'), theirs.laptop);
  await theirs.leave(other);
});

test('nothing is left on the laptop', async (t) => {
  await play[Symbol.asyncDispose]();
  t.deepEqual(await leftOnLaptop(stage, stage.before), []);
});
