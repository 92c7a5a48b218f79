import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import type { Outcome } from '../../src/kpctl/demo/processes.ts';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { openClusterStage, type ClusterStage, type LaptopStage } from './cluster-stage.ts';
import { leftOnLaptop } from './laptop-state.ts';
import { staticBusybox } from './static-program.ts';

let stage: ClusterStage;

test.before(async (t) => {
  stage = await openClusterStage('run', ['deploy/examples/http.yaml', 'deploy/gateway.yaml', 'test/e2e/configured.yaml'], (line) =>
    t.log(line),
  );
});
test.after.always(async () => {
  await stage[Symbol.asyncDispose]();
});

/** `kpctl run -- COMMAND` to its end. */
async function runCommand(user: LaptopStage, ...command: string[]): Promise<Outcome> {
  return await onLaptop(user, kpctl(user, 'run', '--', ...command));
}

/** The same as root and as an ordinary user, side by side. */
function asBothUsers(title: string, play: (t: ExecutionContext, user: LaptopStage) => Promise<void>): void {
  test(`${title}, as root and as an ordinary user`, async (t) => {
    await Promise.all([play(t, stage), play(t, stage.asOrdinaryUser())]);
  });
}

asBothUsers('curl calls a Service by its name from any directory', async (t, user) => {
  const argv = kpctl(user, 'run', '--', 'curl', '-sS', 'http://server/status');
  const outcome = await onLaptop(user, ['env', '--chdir=/', ...argv]);
  t.regex(outcome.stdout, /^server on server-\S+ is well$/m, outcome.stderr);
  t.is(outcome.code, 0);
});

asBothUsers("the command's exit code is kpctl's", async (t, user) => {
  const outcome = await runCommand(user, 'sh', '-c', 'exit 7');
  t.is(outcome.code, 7, outcome.stderr);
});

asBothUsers('a statically linked program is captured as any', async (t, user) => {
  const outcome = await runCommand(user, staticBusybox(), 'wget', '-q', '-O', '-', 'http://server/dependency/status');
  t.regex(outcome.stdout, /^server on server-\S+ asked: dependency on dependency-/, outcome.stderr);
});

asBothUsers("an npm project starts in the workload's environment and calls a Service", async (t, user) => {
  // npm would ask its registry for news of itself
  const script = 'cp -r "$1" "$HOME/project" && cd "$HOME/project" && shift && npm_config_update_notifier=false exec "$@"';
  const argv = kpctl(user, 'run', '-w', 'server', '--', 'npm', 'start');
  const outcome = await onLaptop(user, ['sh', '-c', script, 'sh', user.inCheckout('test/e2e/npm-project'), ...argv]);
  t.regex(outcome.stdout, /^hello from the cluster\ndependency on dependency-\S+ is well$/m, outcome.stderr);
  t.is(outcome.code, 0);
});

asBothUsers("the laptop's own servers, its other destinations and the API server stay direct", async (t, user) => {
  const [address] = await laptopAddresses();
  if (address === undefined) throw new Error('the laptop has no IPv4 address other than its loopback');
  await using server = startOnLaptop(user, [user.node, '-e', sayCaller]);
  const port = portIn(await server.waitForLine(/listens on/));
  const script = [
    `curl -sS http://127.0.0.1:${port}/`,
    `curl -sS http://${address}:${port}/`,
    `kubectl -n ${user.namespace} get deployment server -o name`,
  ].join('\n');
  const outcome = await runCommand(user, 'sh', '-ec', script);
  t.deepEqual(outcome.stdout.trim().split('\n'), ['caller 127.0.0.1', `caller ${address}`, 'deployment.apps/server'], outcome.stderr);
});

asBothUsers("a port that the command listens on is at the same port of the laptop's 127.0.0.1", async (t, user) => {
  await using server = startOnLaptop(user, kpctl(user, 'run', '--', ...user.example, 'dependency', '0'));
  const port = portIn(await server.waitForLine(/listens on/));
  const url = `http://127.0.0.1:${port}/status`;
  const outcome = await onLaptop(user, ['curl', '-sS', '--retry', '20', '--retry-delay', '1', '--retry-connrefused', url]);
  t.regex(outcome.stdout, /^dependency on \S+ is well/, outcome.stderr);
  server.kill('SIGTERM');
  t.is((await server.exited).code, 0);
});

asBothUsers('a kpctl that is killed takes its command with it', async (t, user) => {
  await using killed = startOnLaptop(user, kpctl(user, 'run', '--', ...user.example, 'dependency', '0'));
  await killed.waitForLine(/listens on/);
  killed.kill('SIGKILL');
  t.is((await killed.exited).code, 137); // stdout has closed: the command is gone, too
  const status = await onLaptop(user, [...user.kpctl, 'status']);
  t.is(status.stdout, 'nothing is intercepted and nothing runs\n', status.stderr);
});

test('kpctl env is the environment that the container has', async (t) => {
  const program = ['--', '/usr/bin/node', '-e', 'process.stdout.write(JSON.stringify(process.env))'];
  const real = variables(await stage.kubectlOut('exec', 'deploy/configured', '-c', 'app', ...program));
  const outcome = await onLaptop(stage, kpctl(stage, 'env', 'configured', '-o', 'json'));
  t.is(outcome.code, 0, outcome.stderr);
  const computed = variables(outcome.stdout);
  t.is(computed['EXPANDED'], 'the secret is "s3cret $(NOT) ünïcode", not $(PASSWORD)');
  // PATH is the image's, and HOME the container runtime's
  const known = Object.fromEntries(Object.entries(real).filter(([name]) => !['PATH', 'HOME'].includes(name)));
  t.deepEqual(computed, known);
});

test('nothing is left on the laptop', async (t) => {
  t.deepEqual(await leftOnLaptop(stage, stage.before), []);
});

/** An HTTP server on all addresses that says from which address it is called. */
const sayCaller = `
  const server = require('node:http').createServer((request, response) => response.end('caller ' + request.socket.remoteAddress + '\\n'));
  server.listen(0, '0.0.0.0', () => console.log('listens on ' + server.address().port));
`;

async function laptopAddresses(): Promise<string[]> {
  const program = 'process.stdout.write(JSON.stringify(require("node:os").networkInterfaces()))';
  const outcome = await onLaptop(stage, [stage.node, '-e', program]);
  const interfaces = z
    .record(z.string(), z.array(z.object({ address: z.string(), family: z.string(), internal: z.boolean() })))
    .parse(JSON.parse(outcome.stdout));
  return Object.values(interfaces)
    .flat()
    .filter(({ family, internal }) => family === 'IPv4' && !internal)
    .map(({ address }) => address);
}

function portIn(line: string): string {
  return /\d+$/.exec(line)?.[0] ?? '';
}

function variables(json: string): Record<string, string> {
  return z.record(z.string(), z.string()).parse(JSON.parse(json));
}
