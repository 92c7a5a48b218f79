/**
 * How long a laptop takes to be in the cluster, on a cluster with kpeering installed.
 *
 *     node test/bench/start-times.ts [--rounds 10]
 *
 * `up`: from the start of `sudo kpctl up` to the first answer of a server in the cluster, asked for by name as soon as kpctl has returned. `run`:
 * `kpctl run -- true` from start to end. Beside them `kubectl get --raw /version`: what a round trip with its TLS handshake takes on this machine. Each in turn, on a
 * laptop of its own (test/e2e/laptop.ts), after one round that does not count. $KUBECONFIG and $KPEERING_E2E_LAPTOP are those of the end-to-end tests.
 */
import { parseArgs } from 'node:util';
import { requireProgram } from '../../src/platform/programs.ts';
import { openClusterStage } from '../e2e/cluster-stage.ts';
import { openLaptop } from '../e2e/laptop.ts';
import { median } from './ratios.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '10' } } });

const tell = (line: string): void => void process.stdout.write(`${line}\n`);
await using stage = await openClusterStage('start-times', ['test/e2e/up.yaml', 'deploy/gateway.yaml'], tell);
await using laptop = await openLaptop(stage);
const kubectl = requireProgram('kubectl', 'kubectl');
const before = await laptop.state();

const samples = { up: [] as number[], returned: [] as number[], down: [] as number[], run: [] as number[], kubectl: [] as number[] };

/** Milliseconds; throws where the program fails. */
async function timed(work: () => Promise<{ readonly code: number; readonly stderr: string }>): Promise<number> {
  const started = performance.now();
  const { code, stderr } = await work();
  if (code !== 0) throw new Error(stderr);
  return performance.now() - started;
}

for (let round = 0; round <= Number(values.rounds); round += 1) {
  const asked = await timed(async () => await laptop.user.run(kubectl, 'get', '--raw', '/version'));
  const run = await timed(async () => await laptop.user.run(...laptop.kpctl, 'run', '-n', stage.namespace, '--', 'true'));
  const returned = await timed(async () => await laptop.up());
  const answered = await timed(async () => await laptop.user.run('curl', '-sSf', '-m', '10', 'http://web/status'));
  const down = await timed(async () => await laptop.down());
  if (round === 0) continue;
  samples.kubectl.push(asked);
  samples.run.push(run);
  samples.returned.push(returned);
  samples.up.push(returned + answered);
  samples.down.push(down);
}

const line = (name: string, numbers: readonly number[], goal = ''): void => {
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)].map((number) => Math.round(number));
  tell(`${name.padEnd(52)} ${String(Math.round(median(numbers))).padStart(6)} (${least}–${most})${goal}`);
};
tell(`milliseconds, median of ${samples.up.length} (least–most)`);
line('kubectl get --raw /version', samples.kubectl);
line('kpctl run -- true', samples.run, '   goal ≤ 700');
line('sudo kpctl up, until it returns', samples.returned);
line('sudo kpctl up, until the first answer by name', samples.up, '   goal ≤ 2000');
line('sudo kpctl down', samples.down);
const left = await laptop.left(before, 5000);
tell(left.length === 0 ? 'nothing is left on the laptop' : `left: ${left.join('; ')}`);
