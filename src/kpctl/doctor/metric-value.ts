/** The value of a metric without labels in Prometheus' text format; undefined where it is not there. */
export function metricValue(text: string | undefined, name: string): number | undefined {
  const line = text?.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  const value = Number(line?.slice(name.length + 1));
  return Number.isNaN(value) ? undefined : value;
}
