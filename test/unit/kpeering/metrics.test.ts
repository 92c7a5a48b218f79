import { readFileSync } from 'node:fs';
import test from 'ava';
import { assumedRules } from '../../../src/interceptor/rules-file.ts';
import { Gateway } from '../../../src/kpeering/gateway.ts';
import { Sidecar } from '../../../src/kpeering/sidecar.ts';
import { silentLogger } from '../../../src/platform/log.ts';
import { version } from '../../../src/platform/version.ts';
import { parseExposition, type TextFamily } from '../../harness/prometheus-text.ts';

const options = { tunnelPort: 0, healthHost: '127.0.0.1', healthPort: 0, name: 'shop/web-1', log: silentLogger };

async function scrape(port: number): Promise<readonly TextFamily[]> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  return parseExposition(await answer.text());
}

/** The rows of docs/metrics.md in which a part has a mark: `name type`. */
function documented(part: 'sidecar' | 'gateway'): readonly string[] {
  const rows = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8').matchAll(/^\| `(\w+)` +\| (\w+) +\|([^|]*)\|/gmu);
  return [...rows].filter(([, , , parts = '']) => parts.includes(part)).map(([, name = '', type = '']) => `${name} ${type}`);
}

const told = (families: readonly TextFamily[]): readonly string[] => families.map(({ name, type }) => `${name} ${type}`);

test('docs/metrics.md lists exactly what a sidecar tells, and Prometheus can read it', async (t) => {
  await using sidecar = await Sidecar.start({ ...options, inboundPort: 0, capture: { rules: assumedRules(0, 'a test') } });
  const families = await scrape(sidecar.ports.health);
  t.deepEqual(told(families).toSorted(), documented('sidecar').toSorted());
  t.deepEqual(families.find(({ name }) => name === 'kpeering_build_info')?.samples, [
    { name: 'kpeering_build_info', labels: { version }, value: 1 },
  ]);
  for (const { name, samples } of families) {
    if (name.startsWith('process_')) t.true((samples[0]?.value ?? 0) > 0, name);
  }
});

test('docs/metrics.md lists exactly what a gateway tells, and Prometheus can read it', async (t) => {
  await using gateway = await Gateway.start(options);
  t.deepEqual(told(await scrape(gateway.ports.health)).toSorted(), documented('gateway').toSorted());
});

test('the reader of the text format objects to what Prometheus would', (t) => {
  const good = '# HELP a_total Help\n# TYPE a_total counter\na_total{b="c"} 1\n';
  t.notThrows(() => parseExposition(good));
  for (const [what, text] of [
    ['no end of the last line', good.slice(0, -1)],
    ['no HELP', good.replace('# HELP a_total Help\n', '')],
    ['twice', `${good}a_total{b="c"} 2\n`],
    ['no _total', good.replaceAll('a_total', 'a')],
    ['_total of a gauge', good.replace('counter', 'gauge')],
    ['milliseconds', good.replaceAll('a_total', 'a_milliseconds_total')],
    ['an unquoted label', good.replace('"c"', 'c')],
    ['a label twice', good.replace('{b="c"}', '{b="c",b="d"}')],
    ['no number', good.replace('} 1', '} one')],
    ['below zero', good.replace('} 1', '} -1')],
    ['a sample of another group', good.replace('a_total{', 'b_total{')],
    ['a group in two places', `${good}# HELP b B\n# TYPE b gauge\nb 1\n${good}`],
  ] as const) {
    t.throws(() => parseExposition(text), undefined, what);
  }
});
