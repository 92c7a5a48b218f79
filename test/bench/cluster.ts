/**
 * Speed on a real cluster: `kpctl run` and `kpctl intercept` beside `kubectl port-forward` to the same pod, in turn in one run.
 *
 *     node test/bench/cluster.ts [--rounds 5] [--seconds 2] [--megabytes 192] [--paths kubectl,naive,run,intercept] [--measures …] [--json]
 *
 * $KUBECONFIG and $KPEERING_E2E_LAPTOP are those of the end-to-end tests. Every number is the median of the rounds; a ratio is the median
 * of the ratios within each round, with the smallest and the largest, because a machine that is shared changes its speed between rounds.
 */
import { parseArgs } from 'node:util';
import { openBenchStage, type Path, paths } from './cluster-paths.ts';
import { measureCluster, measures, type Measure, type Samples } from './cluster-measures.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    megabytes: { type: 'string', default: '192' },
    paths: { type: 'string', default: paths.join(',') },
    measures: { type: 'string', default: Object.keys(measures).join(',') },
    json: { type: 'boolean', default: false },
  },
});

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[(sorted.length >> 1) - 1] ?? upper)) / 2;
}

function ratio(of: readonly number[] | undefined, to: readonly number[] | undefined): string {
  if (of === undefined || to === undefined) return '–'.padStart(20);
  const ratios = of.map((value, index) => value / (to[index] ?? Number.NaN));
  return `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`.padStart(20);
}

function line(name: string, { kubectl, naive, run, intercept }: Samples): string {
  const columns = [kubectl, naive, run, intercept].map((of) =>
    of === undefined ? '–' : median(of).toFixed(of[0] !== undefined && of[0] < 100 ? 1 : 0),
  );
  return [name.padEnd(30), ...columns.map((text) => text.padStart(11)), ratio(run, kubectl), ratio(run, naive), ratio(intercept, run)].join(
    ' ',
  );
}

const isPath = (name: string): name is Path => paths.some((path) => path === name);
const isMeasure = (name: string): name is Measure => name in measures;

await using stage = await openBenchStage(values.paths.split(',').filter(isPath), (text) => process.stderr.write(`${text}\n`));
const results = await measureCluster(stage, {
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  bytes: Number(values.megabytes) * 1e6,
  measures: values.measures.split(',').filter(isMeasure),
});
if (values.json) process.stdout.write(`${JSON.stringify(results)}\n`);
else {
  const head = ['', 'kubectl', 'naive', 'kpctl run', 'intercept'].map((text, index) => (index === 0 ? text.padEnd(30) : text.padStart(11)));
  process.stdout.write(
    `${head.join(' ')} ${'run : kubectl'.padStart(20)} ${'run : naive'.padStart(20)} ${'intercept : run'.padStart(20)}\n`,
  );
  for (const [name, samples] of Object.entries(results)) process.stdout.write(`${line(name, samples)}\n`);
}
