import { readFileSync } from 'node:fs';
import test from 'ava';
import { OperatorMetrics } from '../../../src/operator/metrics.ts';
import { clusterRules, namespaceRules, type Rule } from '../../../src/operator/rights.ts';

const page = (name: string): string => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');

/** One line for each rule and group, as docs/operator.md has them. */
function lines(where: string, rules: readonly Rule[]): readonly string[] {
  return rules.map(({ apiGroups: [group = ''], resources, resourceNames, verbs }) => {
    const names = resources.map((resource) => `\`${resource}${group === '' ? '' : `.${group}`}\``);
    return `${where}: ${names.join(' ')}${resourceNames === undefined ? '' : ` (\`${resourceNames.join('`, `')}\`)`}: ${verbs.join(', ')}`;
  });
}

test("docs/operator.md has the operator's rights, all and no other", (t) => {
  const rows = page('operator.md')
    .split('\n')
    .filter((line) => /^\| (?:cluster|its namespace) /u.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, where, resources, verbs]) => `${where}: ${resources}: ${verbs}`);
  t.deepEqual(rows.toSorted(), [...lines('cluster', clusterRules), ...lines('its namespace', namespaceRules)].toSorted());
});

test("docs/metrics.md has the operator's metrics", async (t) => {
  const told = [...(await new OperatorMetrics().text()).matchAll(/^# TYPE (\S+) (\S+)$/gmu)].map(
    ([, name, type]) => `| \`${name}\` | ${type} | operator |`,
  );
  t.true(told.length > 5);
  const documented = page('metrics.md').replaceAll(/ +\|/gu, ' |').replaceAll(/\| +/gu, '| ');
  for (const row of told) t.true(documented.includes(row), row);
});
