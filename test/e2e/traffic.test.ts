import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import type { Outcome, Running } from '../../src/kpctl/demo/processes.ts';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { openClusterStage, trafficManifest, type ClusterStage } from './cluster-stage.ts';
import { leftOnLaptop } from './laptop-state.ts';

const program = 'test/e2e/traffic/peer.ts';
const MEBIBYTE = 1024 * 1024;

let stage: ClusterStage;

test.before(async (t) => {
  stage = await openClusterStage('traffic', [trafficManifest, 'deploy/gateway.yaml'], (line) => t.log(line));
  // kube-proxy may be behind: until it knows the endpoint, it refuses
  const patience = AbortSignal.timeout(30_000);
  while (!(await inPod('name', 'peer:9000')).stdout.startsWith('peer-')) patience.throwIfAborted();
});
test.after.always(async () => {
  await stage[Symbol.asyncDispose]();
});

/** peer.ts in the pod without a sidecar. */
async function inPod(...argv: string[]): Promise<Outcome> {
  return await stage.kubectl('exec', 'deploy/caller', '--', '/usr/bin/node', '/traffic/peer.ts', ...argv);
}

/** peer.ts on the laptop, in the cluster's network. */
async function inRun(...argv: string[]): Promise<Outcome> {
  return await onLaptop(stage, kpctl(stage, 'run', '--', stage.node, stage.inCheckout(program), ...argv));
}

/** peer.ts serves on the laptop, and its port of the pod is claimed for it. */
async function intercepted(): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  const serve = [stage.node, stage.inCheckout(program), 'serve', '0'];
  const server: Running = stack.use(startOnLaptop(stage, serve));
  const port = /\d+$/.exec(await server.waitForLine(/listens on/))?.[0] ?? '';
  const intercept = stack.use(startOnLaptop(stage, kpctl(stage, 'intercept', 'peer', '--port', `${port}:peer`)));
  await intercept.waitForLine(/^ready$/);
  stack.defer(async () => {
    intercept.kill('SIGINT'); // goodbye: the claim ends at once
    await intercept.exited;
  });
  return stack;
}

const exchangeSchema = z.object({ equal: z.number(), failures: z.array(z.string()), milliseconds: z.number() });
const endingsSchema = z.object({ peer: z.string(), serverEndsFirst: z.string(), serverResets: z.string(), clientResets: z.string() });

function assertExchanged(t: ExecutionContext, outcome: Outcome, connections: number): void {
  t.is(outcome.code, 0, outcome.stderr);
  const { equal, failures, milliseconds } = exchangeSchema.parse(JSON.parse(outcome.stdout));
  t.deepEqual(failures, []);
  t.is(equal, connections);
  t.log(`${milliseconds} ms`);
}

/** Half-closes by the server (by the client: every exchange) and resets by either side arrive as what they are. */
function assertEndings(t: ExecutionContext, outcome: Outcome, peer: RegExp): void {
  t.is(outcome.code, 0, outcome.stderr);
  const endings = endingsSchema.parse(JSON.parse(outcome.stdout));
  t.regex(endings.peer, peer);
  t.is(endings.serverEndsFirst, 'client: end; server: last word end');
  t.is(endings.serverResets, 'ECONNRESET');
  t.is(endings.clientResets, 'ECONNRESET');
}

test('passed on to the app: half-closes and resets arrive as such, and 256 MiB both ways are equal', async (t) => {
  assertEndings(t, await inPod('endings', 'peer:9000'), /^peer-/);
  assertExchanged(t, await inPod('exchange', 'peer:9000', '1', String(256 * MEBIBYTE)), 1);
});

test('outbound: half-closes and resets arrive as such, and 256 MiB both ways are equal', async (t) => {
  assertEndings(t, await inRun('endings', 'peer:9000'), /^peer-/);
  assertExchanged(t, await inRun('exchange', 'peer:9000', '1', String(256 * MEBIBYTE)), 1);
});

test('intercepted: half-closes and resets arrive as such, 200 connections at once and 256 MiB both ways are equal', async (t) => {
  await using _ = await intercepted();
  assertEndings(t, await inPod('endings', 'peer:9000'), /^(?!peer-)/);
  assertExchanged(t, await inPod('exchange', 'peer:9000', '200', String(MEBIBYTE)), 200);
  assertExchanged(t, await inPod('exchange', 'peer:9000', '1', String(256 * MEBIBYTE)), 1);
  // README: kubectl port-forward to an intercepted pod arrives on its loopback and bypasses the claim
  await using forward = startOnLaptop(stage, ['kubectl', '-n', stage.namespace, 'port-forward', 'deploy/peer', ':9000']);
  const target = /127\.0\.0\.1:\d+/.exec(await forward.waitForLine(/Forwarding from 127\.0\.0\.1/))?.[0] ?? '';
  const outcome = await onLaptop(stage, [stage.node, stage.inCheckout(program), 'name', target]);
  t.regex(outcome.stdout, /^peer-/, outcome.stderr);
});

test('nothing is left on the laptop', async (t) => {
  t.deepEqual(await leftOnLaptop(stage, stage.before), []);
});
