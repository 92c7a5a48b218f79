/**
 * What injection adds to the creation of a pod, on a cluster with kpeering installed: dry runs of a pod that asks for it and of one that does not, in turn in one run.
 *
 *     node test/bench/webhook.ts [--rounds 5] [--seconds 10] [--per-second 20]
 *
 * $KUBECONFIG and $KPEERING_E2E_LAPTOP are those of the end-to-end tests. "API server" is what the API server itself has measured of the calls of the
 * webhook: from its request to the answer.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { start } from '../../src/kpctl/demo/processes.ts';
import { clusterAccess, succeedOnCluster } from '../e2e/installation.ts';
import { median } from './ratios.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '10' },
    'per-second': { type: 'string', default: '20' },
  },
});

const countsSchema = z.object({ admitted: z.number(), bare: z.number(), failed: z.number(), p50: z.number(), p99: z.number() });
type Counts = z.infer<typeof countsSchema>;

const access = clusterAccess();
const namespace = `kp-bench-${randomBytes(3).toString('hex')}`;

/** Dry runs, one after the other. */
async function measure(inject: 'enabled' | 'disabled'): Promise<Counts> {
  const containers = [{ name: 'web', image: 'web', ports: [{ containerPort: 8080 }], readinessProbe: { tcpSocket: { port: 8080 } } }];
  const metadata = { generateName: 'bench-', labels: { 'kpeering.io/inject': inject } };
  const pod = JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers } });
  const program = join(import.meta.dirname, '../e2e/admissions.ts');
  const argv = [...access.laptopPrefix, process.execPath, program, namespace, pod, '1', values['per-second']];
  await using running = start(argv, access.environment);
  await running.waitForLine(/^begun$/u);
  await delay(Number(values.seconds) * 1000);
  running.kill('SIGTERM');
  const { stdout, stderr } = await running.exited;
  const counts = countsSchema.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? stderr));
  if (counts.failed > 0 || counts.bare !== (inject === 'enabled' ? 0 : counts.admitted)) throw new Error(`not as asked: ${stdout}`);
  return counts;
}

/** The API server's histogram of our webhook, added up over its entries: how many took at most so many seconds. */
async function histogram(): Promise<ReadonlyMap<number, number>> {
  const text = await succeedOnCluster(access, 'kubectl', 'get', '--raw', '/metrics');
  const bucket =
    /^apiserver_admission_webhook_admission_duration_seconds_bucket\{name="[a-z]+\.inject\.kpeering\.io".*le="([^"]+)"\} (\d+)/gmu;
  const counts = new Map<number, number>();
  for (const [, bound = '', count] of text.matchAll(bucket)) {
    const seconds = bound === '+Inf' ? Infinity : Number(bound);
    counts.set(seconds, (counts.get(seconds) ?? 0) + Number(count));
  }
  return counts;
}

await succeedOnCluster(access, 'kubectl', 'create', 'namespace', namespace);
try {
  const before = await histogram();
  const rounds: { readonly plain: Counts; readonly asked: Counts }[] = [];
  for (let round = 0; round < Number(values.rounds); round++)
    rounds.push({ plain: await measure('disabled'), asked: await measure('enabled') });
  const after = await histogram();
  const spread = (numbers: readonly number[]): string =>
    `${median(numbers).toFixed(1)} (${Math.min(...numbers).toFixed(1)}–${Math.max(...numbers).toFixed(1)})`;
  const say = (line: string): void => void process.stdout.write(`${line}\n`);
  say(
    `dry runs of a pod, ms: median of ${rounds.length} rounds (smallest–largest), ${rounds.reduce((sum, { asked }) => sum + asked.admitted, 0)} of each`,
  );
  for (const at of ['p50', 'p99'] as const) {
    say(`${at}  not asking ${spread(rounds.map(({ plain }) => plain[at]))}  injected ${spread(rounds.map(({ asked }) => asked[at]))}`);
    say(
      `${at}  difference ${spread(rounds.map(({ plain, asked }) => asked[at] - plain[at]))}${at === 'p99' ? '   goal: the webhook takes at most 50' : ''}`,
    );
  }
  const total = (after.get(Infinity) ?? 0) - (before.get(Infinity) ?? 0);
  const shares = [...after]
    .filter(([bound]) => bound <= 0.1)
    .map(([bound, count]) => `${(((count - (before.get(bound) ?? 0)) / total) * 100).toFixed(2)} % within ${bound * 1000} ms`);
  say(`API server: ${total} calls, ${shares.join(', ')}`);
} finally {
  await succeedOnCluster(access, 'kubectl', 'delete', 'namespace', namespace, '--wait=false');
}
