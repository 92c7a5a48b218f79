import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { openClusterStage, robustnessManifest, type ClusterStage } from './cluster-stage.ts';
import { openInterceptStage, type InterceptStage } from './intercept-stage.ts';
import { leftOnLaptop } from './laptop-state.ts';

const MEBIBYTE = 1024 * 1024;

let stage: ClusterStage;
let play: InterceptStage & AsyncDisposable;

test.before(async (t) => {
  stage = await openClusterStage('transport', [robustnessManifest], (line) => t.log(line));
  play = await openInterceptStage(stage);
  for (const verb of ['get', 'create']) {
    await stage.kubectlOut('create', 'role', `only-${verb}`, `--verb=${verb}`, '--resource=pods/portforward');
    await stage.kubectlOut('create', 'rolebinding', `only-${verb}`, `--role=only-${verb}`, `--user=e2e-only-${verb}`);
    await stage.kubectlOut('create', 'rolebinding', `look-${verb}`, '--clusterrole=view', `--user=e2e-only-${verb}`);
  }
});
test.after.always(async () => {
  await play[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

const statusSchema = z.array(z.object({ transport: z.string().optional() }));
const exchangeSchema = z.object({ equal: z.number(), failures: z.array(z.string()) });

/** Of what runs on the laptop, as `kpctl status` says it. */
async function transports(): Promise<(string | undefined)[]> {
  const { stdout } = await onLaptop(stage, [...stage.kpctl, 'status', '-o', 'json']);
  return statusSchema.parse(JSON.parse(stdout)).map(({ transport }) => transport);
}

/** Callers reach the laptop through WebSockets, with 20 connections at once and 64 MiB both ways unchanged. */
async function carries(t: ExecutionContext, ...options: string[]): Promise<void> {
  await using server = startOnLaptop(stage, [stage.node, stage.inCheckout('test/e2e/traffic/peer.ts'), 'serve', '0']);
  const local = /\d+$/u.exec(await server.waitForLine(/listens on/u))?.[0] ?? '';
  await using running = await play.intercept('peer', '--port', `${local}:peer`, ...options);
  t.deepEqual(await transports(), ['websocket']);
  const [pod] = await play.pods('peer');
  for (const [connections, bytes] of [
    [20, MEBIBYTE],
    [1, 64 * MEBIBYTE],
  ] as const) {
    const program = ['/usr/bin/node', '/traffic/peer.ts', 'exchange', `${pod?.ip}:9000`, String(connections), String(bytes)];
    const outcome = await stage.kubectl('exec', 'deploy/caller', '--', ...program);
    t.is(outcome.code, 0, outcome.stderr);
    t.deepEqual(exchangeSchema.parse(JSON.parse(outcome.stdout)), { equal: connections, failures: [] });
  }
  await play.leave(running);
}

test('SPDY is what is used', async (t) => {
  await using running = await play.intercept('web', '--port', `${play.port}:http`);
  t.deepEqual(await transports(), ['spdy']);
  await play.leave(running);
});

test('WebSocket, when it is forced', async (t) => await carries(t, '--transport', 'websocket'));

test('a gateway in front of the API server refuses SPDY: WebSocket is used, and status says so', async (t) => {
  await using gateway = startOnLaptop(stage, [stage.node, stage.inCheckout('test/e2e/gateway.ts')]);
  const kubeconfig = (await gateway.waitForLine(/^kubeconfig /u)).split(' ')[1] ?? '';
  await carries(t, '--kubeconfig', kubeconfig);
  const forced = await onLaptop(
    stage,
    kpctl(stage, 'intercept', 'web', '--port', `${play.port}:http`, '--kubeconfig', kubeconfig, '--transport', 'spdy'),
  );
  t.is(forced.code, 1);
  t.regex(forced.stderr, /403.*\[API_FORBIDDEN\]|forbid.*\[API_FORBIDDEN\]/u);
  gateway.kill('SIGTERM');
  await gateway.exited;
});

test('each protocol names the right that it lacks', async (t) => {
  async function missing(user: string, transport: string): Promise<string> {
    const argv = kpctl(stage, 'intercept', 'web', '--port', `${play.port}:http`, '--as', user, '--transport', transport);
    const { code, stderr } = await onLaptop(stage, argv);
    t.is(code, 1);
    return /ask for the right to (\w+) pods\/portforward/u.exec(stderr)?.[1] ?? stderr;
  }
  t.is(await missing('e2e-only-get', 'spdy'), 'create');
  t.is(await missing('e2e-only-get', 'websocket'), 'create');
  t.is(await missing('e2e-only-create', 'websocket'), 'get');
});

test('nothing is left on the laptop', async (t) => {
  await play[Symbol.asyncDispose]();
  t.deepEqual(await leftOnLaptop(stage, stage.before), []);
});
