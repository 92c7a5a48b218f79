import { z } from 'zod';
import { expectLine, interrupt, kpctl, onLaptop, startOnLaptop, StoryError, type Stage } from './stage.ts';
import type { Running } from './processes.ts';

/** HTTP: client → server → dependency, three arrangements of who is local. */
export async function playHttp(stage: Stage): Promise<void> {
  stage.tell('HTTP: client calls server, and server calls dependency, each by name.');
  await allLocal(stage);
  await serverInPod(stage);
  await serverLocal(stage);
}

async function allLocal(stage: Stage): Promise<void> {
  stage.tell(' (a) all three on the laptop, directly');
  await using dependency = startOnLaptop(stage, [...stage.example, 'dependency', '0']);
  const dependencyUrl = `http://127.0.0.1:${await portOf(dependency)}/status`;
  await using server = startOnLaptop(stage, [...stage.example, 'server', '0'], { DEPENDENCY_URL: dependencyUrl });
  const base = `http://127.0.0.1:${await portOf(server)}`;
  expectLine(stage, '/status', await get(stage, `${base}/status`), /^200 server on /);
  expectLine(stage, '/dependency/status', await get(stage, `${base}/dependency/status`), /^200 server on .* asked: dependency on /);
}

async function serverInPod(stage: Stage): Promise<void> {
  stage.tell(' (b) client and dependency on the laptop, server in its pod');
  await using dependency = startOnLaptop(stage, [...stage.example, 'dependency', '0']);
  const port = await portOf(dependency);
  stage.tell(`     kpctl intercept dependency --port ${port}:http; kpctl run -- client http://server/dependency/status`);
  await using intercept = startOnLaptop(stage, kpctl(stage, 'intercept', 'dependency', '--port', `${port}:http`));
  await intercept.waitForLine(/^ready$/);
  const host = await laptopName(stage);
  const run = (url: string): string[] => kpctl(stage, 'run', '--', ...stage.example, 'get', url);
  expectLine(stage, 'http://server/status', text(await onLaptop(stage, run('http://server/status'))), /^200 server on server-/);
  expectLine(
    stage,
    'http://server/dependency/status, answered by the laptop',
    text(await onLaptop(stage, run('http://server/dependency/status'))),
    new RegExp(`^200 server on server-\\S+ asked: dependency on ${host} is well`),
  );
  await interrupt(stage, intercept, 'kpctl intercept', 'SIGINT', 130);
}

async function serverLocal(stage: Stage): Promise<void> {
  stage.tell(' (c) client and dependency in their pods, server on the laptop, in the environment of its pod');
  stage.tell('     kpctl run -w server --port http -- server');
  const argv = kpctl(stage, 'run', '-w', 'server', '--port', 'http', '--', ...stage.example, 'server', '8080');
  await using server = startOnLaptop(stage, argv);
  await server.waitForLine(/listens on/);
  await server.waitForLine(/^kpctl: ready$/);
  const host = await laptopName(stage);
  const viaClient = async (url: string): Promise<string> => {
    const call = `http://client/call?url=${encodeURIComponent(url)}`;
    const outcome = await onLaptop(stage, kpctl(stage, 'run', '--', ...stage.example, 'get', call));
    return text(outcome);
  };
  expectLine(
    stage,
    'the pod of client calls http://server/status',
    await viaClient('http://server/status'),
    new RegExp(`"server on ${host} is well"`),
  );
  expectLine(
    stage,
    'the laptop calls http://dependency/status by its cluster name',
    await viaClient('http://server/dependency/status'),
    new RegExp(`server on ${host} asked: dependency on dependency-`),
  );
  await interrupt(stage, server, 'kpctl run and its command', 'SIGTERM', 0);
}

const callSchema = z.object({
  number: z.int(),
  at: z.number(),
  status: z.int().optional(),
  error: z.string().optional(),
  body: z.string().optional(),
  milliseconds: z.number(),
});

/**
 * A client in its pod calls `http://server/status` on a new connection every 100 ms. In the middle kpctl, which
 * has claimed the server's port, dies by SIGKILL. None may fail but what was in flight in that instant, the slowest
 * takes at most 11 s, and then the pod answers again.
 */
export async function playSuddenDeath(stage: Stage): Promise<void> {
  stage.tell('kpctl is killed (SIGKILL) while a pod calls the intercepted server every 100 ms, each time on a new connection');
  await using local = startOnLaptop(stage, [...stage.example, 'server', '0']);
  const port = await portOf(local);
  const intercept = startOnLaptop(stage, kpctl(stage, 'intercept', 'server', '--port', `${port}:http`));
  await using _ended = intercept;
  await intercept.waitForLine(/^ready$/);
  const host = await laptopName(stage);

  const url = `http://client/watch?every=100&count=170&url=${encodeURIComponent('http://server/status')}`;
  await using watch = startOnLaptop(stage, kpctl(stage, 'run', '--', ...stage.example, 'get', url));
  await watch.waitForLine(/"number":40,/);
  const killedAt = Date.now();
  intercept.kill('SIGKILL');
  const outcome = await watch.exited;
  const calls = outcome.stdout
    .replace(/^200 /, '')
    .trim()
    .split('\n')
    .map((line) => callSchema.parse(JSON.parse(line)));
  const failed = calls.filter((call) => call.status !== 200);
  // the clocks of the pod and of the laptop are one machine's here; elsewhere they may differ by a little
  const inFlight = failed.filter((call) => call.at <= killedAt + 100 && call.at + call.milliseconds >= killedAt - 100);
  const slowest = Math.max(...calls.map((call) => call.milliseconds));
  const byLaptop = calls.filter((call) => call.body?.includes(` ${host} `)).length;
  const byPod = calls.filter((call) => call.body?.includes(' server-')).length;
  if (calls.length !== 170) throw new StoryError(`${calls.length} of 170 calls were reported: ${outcome.stderr}`);
  if (failed.length > inFlight.length || inFlight.length > 2) {
    throw new StoryError(
      `${failed.length} of 170 calls failed: ${failed.map((call) => `#${call.number} ${call.error ?? call.status}`).join(', ')}`,
    );
  }
  if (slowest > 11_000) throw new StoryError(`the slowest call took ${slowest} ms`);
  if (byLaptop < 30 || byPod < 30) throw new StoryError(`${byLaptop} calls were answered by the laptop, ${byPod} by the pod`);
  expectLine(
    stage,
    '170 calls',
    `${byLaptop} answered by the laptop, then ${byPod} by the pod; ${failed.length} failed in the instant; slowest ${slowest} ms`,
    /calls|answered/,
  );
}

async function portOf(program: Running): Promise<string> {
  return (await program.waitForLine(/listens on \d+/)).split(' ').at(-1) ?? '';
}

async function get(stage: Stage, url: string): Promise<string> {
  return text(await onLaptop(stage, [...stage.example, 'get', url]));
}

async function laptopName(stage: Stage): Promise<string> {
  return (await onLaptop(stage, ['hostname'])).stdout.trim();
}

function text(outcome: { stdout: string; stderr: string }): string {
  return outcome.stdout.trim() === '' ? outcome.stderr.trim() : outcome.stdout.trim();
}
