/**
 * How long `kpctl run -- true` takes, from its start to its exit, on a cluster with kpeering installed; goal: 700 ms.
 *
 *     node test/bench/run-start.ts [--rounds 15] [--json]
 *
 * $KUBECONFIG and $KPEERING_E2E_LAPTOP are those of the end-to-end tests. Beside it, in turn in each round: Node alone and `kpctl version`, which are parts of
 * every start. CPU is that of kpctl, its helper and what they run; where it exceeds the time, two processors worked.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { median } from './ratios.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '15' }, json: { type: 'boolean', default: false } } });

const prefix = (process.env['KPEERING_E2E_LAPTOP'] ?? '').split(' ').filter((word) => word !== '');
const kpctl = [process.execPath, join(import.meta.dirname, '../../bin/kpctl.js')];
const programs: Readonly<Record<string, readonly string[]>> = {
  'node alone': [process.execPath, '-e', '0'],
  'kpctl version': [...kpctl, 'version'],
  'kpctl run -- true': [...kpctl, 'run', '--', 'true'],
};

interface Sample {
  readonly milliseconds: number;
  /** User and system, of the program and its children. */
  readonly cpu: number;
}

/** Runs a program below a shell, which knows its children's times: `0m0.10s 0m0.02s` in the second line of `times` (POSIX). */
async function measure(argv: readonly string[]): Promise<Sample> {
  const began = performance.now();
  const child = spawn('sh', ['-c', '"$@" > /dev/null || exit; times', 'sh', ...prefix, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await once(child, 'close');
  const milliseconds = performance.now() - began;
  if (child.exitCode !== 0) throw new Error(`${argv.join(' ')} ended with exit code ${child.exitCode}`);
  const cpu = [...(text.split('\n')[1] ?? '').matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds),
    0,
  );
  return { milliseconds, cpu: cpu * 1000 };
}

// The first start compiles, and finds nothing in the caches.
for (const argv of Object.values(programs)) await measure(argv);
const samples = new Map<string, Sample[]>(Object.keys(programs).map((name) => [name, []]));
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, argv] of Object.entries(programs)) samples.get(name)?.push(await measure(argv));
}

if (values.json) process.stdout.write(`${JSON.stringify(Object.fromEntries(samples))}\n`);
else {
  for (const [name, list] of samples) {
    const times = list.map(({ milliseconds }) => milliseconds);
    const range = `${Math.min(...times).toFixed(0)}–${Math.max(...times).toFixed(0)}`;
    const goal = name === 'kpctl run -- true' ? ' goal ≤ 700' : '';
    process.stdout.write(
      `${name.padEnd(20)} ${median(times).toFixed(0)} ms (${range}), CPU ${median(list.map(({ cpu }) => cpu)).toFixed(0)} ms${goal}\n`,
    );
  }
}
