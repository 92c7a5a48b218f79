import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
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

const root = fileURLToPath(new URL('../../../', import.meta.url));

test('docs/metrics.md lists every metric that the source makes, and no other', (t) => {
  const files = readdirSync(`${root}src`, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const made = files.flatMap((name) => {
    const text = readFileSync(`${root}src/${name}`, 'utf8');
    return [...text.matchAll(/\bname: '((?:kpeering|process)_[a-z_]+)'/g)].map(([, metric = '']) => metric);
  });
  const page = readFileSync(`${root}docs/metrics.md`, 'utf8');
  const rows = [...page.matchAll(/^\| `(\w+)` /gmu)].map(([, name = '']) => name);
  t.true(rows.length > 20);
  t.deepEqual(rows.toSorted(), [...new Set(made)].toSorted());
});

/** Starts an idle sidecar in a process that notes what it loads; asks it for its metrics. Prints what had been loaded of prom-client before, and whether after. */
const program = `
  import { registerHooks } from 'node:module';
  let loaded = 0;
  registerHooks({ load: (url, context, next) => ((loaded += /node_modules.(prom-client|zod|koffi)/.test(url) ? 1 : 0), next(url, context)) });
  const { Sidecar } = await import('./src/kpeering/sidecar.ts');
  const { assumedRules } = await import('./src/interceptor/rules-file.ts');
  const { silentLogger } = await import('./src/platform/log.ts');
  const ports = { inboundPort: 0, tunnelPort: 0, healthPort: 0, healthHost: '127.0.0.1' };
  const sidecar = await Sidecar.start({ ...ports, name: 'a', log: silentLogger, capture: { rules: assumedRules(0, 'a test') } });
  await (await fetch('http://127.0.0.1:' + sidecar.ports.health + '/readyz')).text();
  const idle = loaded;
  await (await fetch('http://127.0.0.1:' + sidecar.ports.health + '/metrics')).text();
  console.log(JSON.stringify({ idle, scraped: loaded > 0 }));
  await sidecar.close();
`;

test('an idle sidecar that nobody scrapes has not loaded prom-client', async (t) => {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { cwd: root });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  await once(child, 'close');
  t.is(stderr, '');
  t.deepEqual(JSON.parse(stdout), { idle: 0, scraped: true });
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
