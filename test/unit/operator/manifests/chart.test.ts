import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { parse } from 'yaml';
import { chartFiles, parseValues } from '../../../../src/operator/manifests/index.ts';

const folder = fileURLToPath(new URL('../../../../deploy/chart', import.meta.url));

function committed(): Map<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => statSync(join(folder, name)).isFile());
  return new Map(names.toSorted().map((name) => [name, readFileSync(join(folder, name), 'utf8')]));
}

test('the chart is what its definition makes: run "node scripts/chart.ts" after a change of it', (t) => {
  const made = chartFiles();
  t.deepEqual([...committed().keys()], [...made.keys()].toSorted());
  for (const [name, content] of made) t.is(committed().get(name), content, name);
});

test('values.yaml has every default, so that what Helm gets without values is what kpctl takes', (t) => {
  t.deepEqual(parse(chartFiles().get('values.yaml') ?? ''), parseValues());
});
