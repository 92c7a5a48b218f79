import { version } from '../platform/version.ts';

/** One value of a metric that has labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/**
 * What `/metrics` tells of one thing; docs/metrics.md has them all, by test. Its value is asked for when somebody looks, so that it costs
 * nothing until then. A label's values are few and known beforehand, or as many as the pod has ports: never an address, a user or a pod.
 */
export interface Metric {
  /** By Prometheus' conventions: `kpeering_flows_total`, the base unit (seconds, bytes) and, of a counter, `total` at its end. */
  readonly name: string;
  /** One line, without a full stop. */
  readonly help: string;
  /** A counter only grows while the process lives; a gauge goes up and down. */
  readonly type: 'counter' | 'gauge';
  /** The names of its samples' labels; absent: it has one value and no labels. */
  readonly labels?: readonly string[];
  value(): number | readonly Sample[];
}

/** The media type of {@link renderMetrics}. */
export const metricsType = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * Prometheus' text format, version 0.0.4, by prom-client, which comes with the first scrape: an idle sidecar that nobody scrapes does without
 * (decision 0011). The registry is made for each scrape, because what we have are values, and its counters count by themselves.
 */
export async function renderMetrics(metrics: readonly Metric[]): Promise<string> {
  const { default: prometheus } = await import('prom-client');
  const registry = new prometheus.Registry();
  for (const metric of metrics) {
    const { name, help, type, labels = [] } = metric;
    const told = metric.value();
    const samples = typeof told === 'number' ? [{ labels: {}, value: told }] : told;
    const configuration = { name, help, labelNames: [...labels], registers: [registry] };
    if (type === 'counter') {
      const counter = new prometheus.Counter(configuration);
      for (const sample of samples) counter.inc(sample.labels, sample.value);
    } else {
      const gauge = new prometheus.Gauge(configuration);
      for (const sample of samples) gauge.set(sample.labels, sample.value);
    }
  }
  return await registry.metrics();
}

/** What every role tells. `KPEERING_RESTARTS` is the supervisor's (bin/supervise.sh). */
export function processMetrics(environment: NodeJS.ProcessEnv): readonly Metric[] {
  const restarts = Number(environment['KPEERING_RESTARTS'] ?? 0);
  return [
    {
      name: 'kpeering_build_info',
      help: 'Always 1; its label says which version of kpeering this is',
      type: 'gauge',
      labels: ['version'],
      value: () => [{ labels: { version }, value: 1 }],
    },
    {
      name: 'kpeering_restarts_total',
      help: 'How often the supervisor has started kpeering again in this container',
      type: 'counter',
      value: () => (Number.isFinite(restarts) ? restarts : 0),
    },
    {
      name: 'process_start_time_seconds',
      help: 'When the kpeering process was started, in seconds since 1970',
      type: 'gauge',
      value: () => Math.round(performance.timeOrigin / 1000),
    },
    {
      name: 'process_cpu_seconds_total',
      help: 'User and system CPU time of the kpeering process',
      type: 'counter',
      value: () => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1e6;
      },
    },
    {
      name: 'process_resident_memory_bytes',
      help: 'Resident memory of the kpeering process',
      type: 'gauge',
      value: () => process.memoryUsage.rss(),
    },
  ];
}
