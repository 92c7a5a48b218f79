/**
 * 1 GiB through `kpctl run` and the sidecar of a real cluster to a reader that stops for 10 s, in each direction: how much the resident
 * memory of each end grows.
 *
 *     node test/bench/cluster-memory.ts [--megabytes 1074] [--stall 10000]
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startOnLaptop } from '../../src/kpctl/demo/stage.ts';
import { openBenchStage } from './cluster-paths.ts';

const { values } = parseArgs({ options: { megabytes: { type: 'string', default: '1074' }, stall: { type: 'string', default: '10000' } } });

/** Resident memory of a process of this machine in bytes (proc_pid_status(5)). */
function residentBytes(status: string): number {
  return Number(/VmRSS:\s+(\d+) kB/u.exec(status)?.[1]) * 1024;
}

/** The highest of a value that is looked at again and again. */
class Peak {
  value = 0;
  see(value: number): void {
    this.value = Math.max(this.value, value);
  }
}

await using bench = await openBenchStage(['workload'], () => undefined);
const [path] = bench.paths;
if (path === undefined) throw new Error('no path');
const pod = new Peak();
const laptop = new Peak();
// PID 1 is the supervisor.
const watchPod = `
  const { readFileSync } = require('fs');
  const [kpeering] = readFileSync('/proc/1/task/1/children', 'latin1').split(' ');
  setInterval(() => console.log('VmRSS: ' + /VmRSS:\\s+(\\d+)/.exec(readFileSync('/proc/' + kpeering + '/status'))[1] + ' kB'), 50);
`;
await using watcher = startOnLaptop(bench.stage, [
  'kubectl',
  '-n',
  bench.stage.namespace,
  'exec',
  bench.pod,
  '-c',
  'kpeering',
  '--',
  '/usr/bin/node',
  '-e',
  watchPod,
]);
await watcher.waitForLine(/^VmRSS/);
let seen = 0;
const timer = setInterval(() => {
  for (const line of watcher.lines.slice(seen)) pod.see(residentBytes(line));
  seen = watcher.lines.length;
  // `kpctl run` is what the load was started by: on this machine, whatever $KPEERING_E2E_LAPTOP puts before it.
  laptop.see(residentBytes(readFileSync(`/proc/${path.load.pid}/status`, 'latin1')));
}, 50);
const bytes = Number(values.megabytes) * 1e6;
for (const kind of ['down', 'up'] as const) {
  laptop.value = 0;
  pod.value = 0;
  await sleep(500);
  const [laptopBefore, podBefore] = [laptop.value, pod.value];
  const answer = await path.load.order({ ...path.target, kind, bytes, stall: Number(values.stall) });
  const growth = [laptop.value - laptopBefore, pod.value - podBefore].map((grown) => (grown / 2 ** 20).toFixed(1));
  process.stdout.write(
    `${kind}: ${JSON.stringify(answer)}; resident memory grew by ${growth[0]} MiB (kpctl), ${growth[1]} MiB (sidecar)\n`,
  );
}
clearInterval(timer);
