/**
 * Speed on a real cluster with kpeering installed: `kpctl run` and `kpctl intercept` beside direct calls and `kubectl port-forward`, in turn in one run.
 *
 *     node test/bench/cluster.ts [--rounds 5] [--seconds 2] [--megabytes 192] [--cycles 100] [--paths direct,plain,kubectl,run,intercept]
 *                                [--measures kept8,kept1,connections,down,up] [--json]
 *
 * $KUBECONFIG and $KPEERING_E2E_LAPTOP are those of the end-to-end tests. Every number is the median of the rounds; a ratio is the median
 * of the ratios within each round, with the smallest and the largest, because a machine that is shared changes its speed between rounds.
 */
import { parseArgs } from 'node:util';
import { measureIntercepts } from './cluster-intercepts.ts';
import { measureCluster, measures, type Measure, type Samples } from './cluster-measures.ts';
import { openBenchStage, type Path, paths } from './cluster-paths.ts';
import { median } from './ratios.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    megabytes: { type: 'string', default: '192' },
    cycles: { type: 'string', default: '100' },
    paths: { type: 'string', default: 'direct,plain,kubectl,run,intercept' },
    measures: { type: 'string', default: Object.keys(measures).join(',') },
    json: { type: 'boolean', default: false },
  },
});

/** Whose ratios are goals (issue 5), by the line of the table; `direct` is an injected pod without a claim. */
const goals: readonly { readonly line: string; readonly of: Path; readonly to: Path; readonly goal: string }[] = [
  { line: 'requests/s on 8 kept', of: 'run', to: 'kubectl', goal: '≥ 1.6' },
  { line: 'p50 on 1 kept, µs', of: 'run', to: 'kubectl', goal: '≤ 0.95' },
  { line: 'bulk down, MB/s', of: 'run', to: 'kubectl', goal: '≥ 1.15' },
  { line: 'bulk up, MB/s', of: 'run', to: 'kubectl', goal: '≥ 1.0' },
  { line: 'new connections/s by 8', of: 'run', to: 'direct', goal: '≥ 0.3' },
  { line: 'requests/s on 8 kept', of: 'intercept', to: 'run', goal: '≥ 1.1' },
  { line: 'p50 on 1 kept, µs', of: 'intercept', to: 'run', goal: '≤ 1.05' },
  { line: 'new connections/s by 8', of: 'intercept', to: 'run', goal: '≥ 0.9' },
  { line: 'requests/s on 8 kept', of: 'direct', to: 'plain', goal: '≥ 0.98' },
  { line: 'new connections/s by 8', of: 'direct', to: 'plain', goal: '≥ 0.98' },
  { line: 'bulk down, MB/s', of: 'direct', to: 'plain', goal: '≥ 0.98' },
];

function ratio(of: readonly number[], to: readonly number[]): string {
  const ratios = of.map((value, index) => value / (to[index] ?? Number.NaN));
  return `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})`;
}

const number = (value: number): string => value.toFixed(value < 100 ? 1 : 0);

function table(names: readonly Path[], results: Readonly<Record<string, Samples>>): string[] {
  const row = (first: string, cells: readonly string[]): string => [first.padEnd(26), ...cells.map((cell) => cell.padStart(11))].join(' ');
  const lines = Object.entries(results).map(([line, samples]) =>
    row(
      line,
      names.map((name) => (samples[name] === undefined ? '–' : number(median(samples[name])))),
    ),
  );
  return [row('', names), ...lines];
}

function ratios(results: Readonly<Record<string, Samples>>): string[] {
  return goals.flatMap(({ line, of, to, goal }) => {
    const [samples, base] = [results[line]?.[of], results[line]?.[to]];
    return samples === undefined || base === undefined
      ? []
      : [`${`${of} : ${to}`.padEnd(20)} ${line.padEnd(26)} ${ratio(samples, base).padEnd(20)} goal ${goal}`];
  });
}

const isPath = (name: string): name is Path => paths.some((path) => path === name);
const isMeasure = (name: string): name is Measure => name in measures;
const chosen = values.paths.split(',').filter(isPath);
const cycles = Number(values.cycles);

const tell = (text: string): void => void process.stderr.write(`${text}\n`);
await using stage = await openBenchStage(chosen, tell);
const results = await measureCluster(stage, {
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  bytes: Number(values.megabytes) * 1e6,
  measures: values.measures.split(',').filter(isMeasure),
});
await stage.closePaths();
const intercepts = cycles > 0 ? await measureIntercepts(stage, cycles) : undefined;
if (values.json) process.stdout.write(`${JSON.stringify({ results, intercepts })}\n`);
else {
  const lines = [...table(chosen, results), '', ...ratios(results)];
  if (intercepts !== undefined) {
    const { firstAnswer, failures, left } = intercepts;
    const sorted = firstAnswer.toSorted((one, other) => one - other);
    const spread = `${number(sorted[0] ?? Number.NaN)}–${number(sorted.at(-1) ?? Number.NaN)}`;
    lines.push(
      '',
      `from the start of kpctl intercept to the first answer, ms: ${number(median(sorted))} (${spread}) goal ≤ 1500`,
      `${cycles} intercept/leave cycles: ${failures.length} failed, ${left.length} things left`,
      ...failures,
      ...left,
    );
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}
