/** One value of a metric that has labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What `/metrics` tells of one thing. Its value is asked for when somebody looks, so that it costs nothing until then. */
export interface Metric {
  /** By Prometheus' conventions: `kpeering_flows_total`, the unit and, of a counter, `total` at its end. */
  readonly name: string;
  /** One line, without a full stop. */
  readonly help: string;
  /** A counter only grows while the process lives; a gauge goes up and down. */
  readonly type: 'counter' | 'gauge';
  value(): number | readonly Sample[];
}

/** The media type of {@link renderMetrics}. */
export const metricsType = 'text/plain; version=0.0.4; charset=utf-8';

/** Prometheus' text format, version 0.0.4 (prometheus.io, "Exposition formats"). */
export function renderMetrics(metrics: readonly Metric[]): string {
  return metrics.map(renderMetric).join('');
}

/** What every role tells. `KPEERING_RESTARTS` is the supervisor's (bin/supervise.sh). */
export function processMetrics(environment: NodeJS.ProcessEnv): readonly Metric[] {
  const restarts = Number(environment['KPEERING_RESTARTS'] ?? 0);
  return [
    {
      name: 'kpeering_restarts_total',
      help: 'How often the supervisor has started kpeering again in this container',
      type: 'counter',
      value: () => (Number.isFinite(restarts) ? restarts : 0),
    },
    {
      name: 'process_resident_memory_bytes',
      help: 'Resident memory of the kpeering process',
      type: 'gauge',
      value: () => process.memoryUsage.rss(),
    },
  ];
}

function renderMetric(metric: Metric): string {
  const value = metric.value();
  const samples = typeof value === 'number' ? [{ labels: {}, value }] : value;
  const lines = samples.map((sample) => `${metric.name}${renderLabels(sample.labels)} ${sample.value}\n`);
  return `# HELP ${metric.name} ${escape(metric.help)}\n# TYPE ${metric.name} ${metric.type}\n${lines.join('')}`;
}

function renderLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escape(value).replaceAll('"', '\\"')}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escape(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
