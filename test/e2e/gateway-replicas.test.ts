import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import { kpctl, onLaptop, startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { openClusterStage, type ClusterStage } from './cluster-stage.ts';
import { openLaptop, type Seat } from './laptop.ts';

/** After this long without a word from the far end a tunnel is lost (docs/protocol.md). */
const DEAD_MILLISECONDS = 6_000;
/** After this long new flows go another way. */
const SUSPECT_MILLISECONDS = 3_000;
const SELECTOR = 'kpeering.io/role=gateway';

let stage: ClusterStage;
test.before(async (t) => {
  stage = await openClusterStage('gateways', ['deploy/examples/http.yaml', 'deploy/gateway.yaml'], (line) => t.log(line));
  await stage.kubectlOut('scale', 'deployment/kpeering-gateway', '--replicas=3');
  await stage.kubectlOut('rollout', 'status', 'deployment/kpeering-gateway', '--timeout=90s');
});
test.after.always(async () => {
  await stage[Symbol.asyncDispose]();
});

const lineSchema = z.object({
  kind: z.enum(['call', 'kept']),
  began: z.number(),
  milliseconds: z.number(),
  outcome: z.string(),
});
type Line = z.infer<typeof lineSchema>;

const statusSchema = z.array(z.object({ pods: z.array(z.object({ name: z.string(), tunnel: z.string() })) }));

/** The pod by which new flows leave. */
async function podInUse(): Promise<string> {
  const { stdout, stderr, code } = await onLaptop(stage, [...stage.kpctl, 'status', '-o', 'json']);
  if (code !== 0) throw new Error(stderr);
  return statusSchema.parse(JSON.parse(stdout))[0]?.pods[0]?.name ?? '';
}

/** Until flows leave by another pod. */
async function moved(from: string): Promise<string> {
  for (;;) {
    const name = await podInUse();
    if (name !== '' && name !== from) return name;
    await delay(200);
  }
}

/** Takes a gateway pod away, in some way, while a command calls through it; answers what the command saw, and when the pod was taken away. */
async function underLoad(
  t: ExecutionContext,
  take: (pod: string) => Promise<void>,
  forMilliseconds: number,
): Promise<{ lines: Line[]; at: number }> {
  const load = [stage.node, '--disable-warning=ExperimentalWarning', stage.inCheckout('test/e2e/exit-load.ts'), 'server'];
  await using run = startOnLaptop(stage, kpctl(stage, 'run', '--', ...load));
  await run.waitForLine(/^calling$/u);
  await delay(1_000);
  const pod = await podInUse();
  const at = Date.now();
  await take(pod);
  const other = await moved(pod);
  await delay(Math.max(0, at + forMilliseconds - Date.now()));
  run.kill('SIGTERM');
  const { stdout, stderr } = await run.exited;
  const lines = stdout.split('\n').flatMap((line) => (line.startsWith('{') ? [lineSchema.parse(JSON.parse(line))] : []));
  const calls = lines.filter(({ kind, began }) => kind === 'call' && began >= at);
  const failed = calls.filter(({ outcome }) => outcome !== 'answered');
  t.log(
    `${pod} > ${other}: ${calls.length} calls, ${failed.length} failed, the slowest took ${Math.max(...calls.map(({ milliseconds }) => milliseconds))} ms`,
  );
  t.log(`failed: ${JSON.stringify(failed.slice(0, 3))}; kept: ${JSON.stringify(lines.filter(({ kind }) => kind === 'kept'))}`);
  t.log(stderr.trim());
  t.true(calls.length > 50);
  t.false(lines.some(({ outcome }) => outcome === 'hung'));
  return { lines, at };
}

/** Calls that were begun so long after `at`, and not answered. */
function failedAfter({ lines, at }: { readonly lines: readonly Line[]; readonly at: number }, milliseconds: number): Line[] {
  return lines.filter(({ kind, began, outcome }) => kind === 'call' && began >= at + milliseconds && outcome !== 'answered');
}

const flowsSchema = z.array(
  z.object({
    kpctl: z.object({ kind: z.string() }),
    name: z.string().optional(),
    process: z.object({ pid: z.int().optional(), name: z.string().optional(), user: z.string().optional() }).nullable(),
  }),
);

test.serial('under kpctl up flows of every user are listed, with the programs that one may see, and move with the gateway', async (t) => {
  await using laptop = await openLaptop(stage);
  const up = await laptop.up();
  t.is(up.code, 0, up.stderr);
  const slow = 'exec 3<>/dev/tcp/server/80; echo pid $$; exec sleep 30 <&3';
  await using own = laptop.user.start('bash', '-c', slow);
  await using others = laptop.root.start('bash', '-c', slow);
  const pids = await Promise.all([own, others].map(async (running) => Number((await running.waitForLine(/^pid \d+$/u)).slice(4))));
  /** In the order of their text: two flows that began together are listed in either. */
  const flows = async (seat: Seat): Promise<string[]> =>
    flowsSchema
      .parse(JSON.parse(await seat.out(...laptop.kpctl, 'flows', '-o', 'json')))
      .filter(({ name }) => name === `server.${stage.namespace}`)
      .map(({ kpctl: { kind }, process }) => [kind, process?.name ?? '?', process?.pid ?? '?', process?.user ?? '?'].join(' '))
      .toSorted();
  t.deepEqual(await flows(laptop.user), [`up ? ? root`, `up sleep ${pids[0]} ?`].toSorted());
  t.deepEqual(await flows(laptop.root), [`up sleep ${pids[0]} kp-developer`, `up sleep ${pids[1]} ?`].toSorted());
  t.regex(
    await laptop.user.out(...laptop.kpctl, 'flows'),
    new RegExp(`^sleep +${pids[0]} +out +tcp +server\\.${stage.namespace}:80 `, 'mu'),
  );

  const used = z
    .array(z.object({ exit: z.object({ pod: z.string() }) }))
    .parse(JSON.parse(await laptop.user.out(...laptop.kpctl, 'status', '-o', 'json')))[0]?.exit.pod;
  await stage.kubectlOut('delete', 'pod', used?.split('/')[1] ?? '', '--grace-period=0', '--force', '--wait=false');
  await delay(1_000);
  t.regex(await laptop.user.out('curl', '-sS', '-m', '10', 'http://server/status'), /^server on server-/mu);
  const doctor = await laptop.user.run(...laptop.kpctl, 'doctor', '-n', stage.namespace);
  t.regex(doctor.stdout, /^ok +up +joined .*through the gateway/mu, doctor.stderr);
  t.regex(doctor.stdout, /^ok +names +names of the cluster are found by every program/mu);
  t.is((await laptop.user.run(...laptop.kpctl, 'down')).code, 0);
});

test.serial('a gateway pod that is deleted serves its flows to the end of its grace, and no call fails', async (t) => {
  const seen = await underLoad(
    t,
    async (pod) => {
      await stage.kubectlOut('delete', 'pod', pod, '--wait=false');
    },
    6_000,
  );
  t.deepEqual(failedAfter(seen, -1_000), []);
  t.deepEqual(
    seen.lines.filter(({ kind }) => kind === 'kept'),
    [],
    'the connection that was open was ended',
  );
});

test.serial('a gateway pod that is killed resets its flows at once, and calls go on by another one', async (t) => {
  const seen = await underLoad(
    t,
    async (pod) => {
      await stage.kubectlOut('delete', 'pod', pod, '--grace-period=0', '--force', '--wait=false');
    },
    6_000,
  );
  t.deepEqual(failedAfter(seen, 3_000), []);
  const kept = seen.lines.find(({ kind }) => kind === 'kept');
  t.is(kept?.outcome, 'ECONNRESET');
});

test.serial('flows of a gateway pod that falls silent are reset, and calls go on by another one', async (t) => {
  const seen = await underLoad(
    t,
    async (pod) => {
      await stage.kubectlOut('exec', pod, '--', '/bin/sh', '-c', 'kill -STOP $(pidof node)');
    },
    DEAD_MILLISECONDS + 6_000,
  );
  // New flows do not wait until the tunnel counts as lost.
  t.deepEqual(failedAfter(seen, SUSPECT_MILLISECONDS + 2_500), []);
  const kept = seen.lines.find(({ kind }) => kind === 'kept');
  t.is(kept?.outcome, 'ECONNRESET');
  t.true((kept?.began ?? 0) + (kept?.milliseconds ?? 0) < seen.at + DEAD_MILLISECONDS + 3_000);
  // Its successor is not waited for: the namespace goes.
  await stage.kubectl('delete', 'pod', '-l', SELECTOR, '--grace-period=0', '--force', '--wait=false');
});
